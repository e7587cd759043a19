"""Image inpainting with a pyramid generator: structure first, detail next."""
