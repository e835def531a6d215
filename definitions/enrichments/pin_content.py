"""What is computed for every published pin."""

from sequences.definitions.enrichment import Column, Enrichment

pin_text = Enrichment(
    name="pin_text",
    owner="content",
    subject="pin",
    executor="normalise_text",
    reads=("title", "description"),
    description="Title and description as the encoder reads them.",
    writes=(Column(name="title_normalised", type="string"), Column(name="description_normalised", type="string")),
)
pin_vector = Enrichment(
    name="pin_vector",
    owner="content",
    subject="pin",
    executor="content_vector",
    description="Text, topics and image as one unit vector; a vector given by the publisher wins.",
    reads=("pin_id", "title_normalised", "description_normalised", "topics", "image", "given_vector"),
    parameters={"dimensions": 64},
    timeout_s=5.0,
    writes=(Column(name="content_vector", type="list<float32>"), Column(name="content_vector_version", type="string")),
)
