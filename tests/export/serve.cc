// Loads an export with TensorFlow's C++ library, as TensorFlow Serving does, and fills one hole.
//
//     serve EXPORT IMAGE_FILE MASK_FILE OUTPUT_FILE
//
// Fails with TensorFlow's message on the standard error.

#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "tensorflow/cc/saved_model/loader.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/public/session.h"

namespace {

tensorflow::Tensor BatchOfOne(const char* path) {
  std::ifstream file(path, std::ios::binary);
  tensorflow::Tensor tensor(tensorflow::DT_STRING, {1});
  tensor.flat<tensorflow::tstring>()(0) =
      std::string(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  return tensor;
}

}  // namespace

int main(int argc, char** argv) {
  tensorflow::SavedModelBundle bundle;
  tensorflow::Status status =
      tensorflow::LoadSavedModel(tensorflow::SessionOptions(), tensorflow::RunOptions(), argv[1],
                                 {"serve"}, &bundle);
  if (status.ok()) {
    const auto& signature = bundle.GetSignatures().at("serving_default");
    std::vector<tensorflow::Tensor> outputs;
    status = bundle.GetSession()->Run(
        {{signature.inputs().at("image_bytes").name(), BatchOfOne(argv[2])},
         {signature.inputs().at("mask_bytes").name(), BatchOfOne(argv[3])}},
        {signature.outputs().at("image_bytes").name()}, {}, &outputs);
    if (status.ok()) {
      const tensorflow::tstring& png = outputs[0].flat<tensorflow::tstring>()(0);
      std::ofstream(argv[4], std::ios::binary).write(png.data(), png.size());
      return 0;
    }
  }
  std::cerr << status.ToString() << std::endl;
  return 1;
}
