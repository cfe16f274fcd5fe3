"""What a run stores: the schema, the samples, the folder. It sees no tensor."""
