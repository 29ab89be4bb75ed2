"""What outlives a request: values, journals and what is learned."""
