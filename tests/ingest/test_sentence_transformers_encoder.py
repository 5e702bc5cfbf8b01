"""The local encoder against a tiny real model, made here: no network, no weights to ship."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import vecstore
from vecstore import Encoder, EncodingProfile
from vecstore.errors import InvalidArgumentError, NotFoundError
from vecstore_ingest import open_encoder

pytestmark = [
    pytest.mark.slow,  # importing the library alone takes longer than a test should
    # What the libraries say to their own callers is not ours to mend.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

WORDS = ["query", "passage", ":", "red", "green", "blue", "fish", "bird"]


@pytest.fixture(autouse=True, scope="module")
def offline():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory, offline):
    """A BERT of one layer with random weights, mean pooling and prompts of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torch
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
        from tokenizers import Tokenizer, models, pre_tokenizers, processors
        from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

        place = tmp_path_factory.mktemp("models")
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        vocabulary = {word: number for number, word in enumerate([*special, *WORDS])}
        tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
        fast = PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            pad_token="[PAD]",
            unk_token="[UNK]",
            cls_token="[CLS]",
            sep_token="[SEP]",
            mask_token="[MASK]",
            model_max_length=32,
        )
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=len(vocabulary),
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=32,
        )
        BertModel(config).save_pretrained(place / "bert")
        fast.save_pretrained(place / "bert")
        transformer = Transformer(str(place / "bert"))
        model = SentenceTransformer(
            modules=[transformer, Pooling(16, "mean")],
            prompts={"query": "query: ", "document": "passage: "},
            device="cpu",
        )
        model.save(str(place / "tiny"))
    return place / "tiny"


@pytest.fixture(scope="module")
def reference(folder):
    """The library itself, called plainly."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    return lambda texts: model.encode(texts, prompt="", convert_to_numpy=True)


def test_it_gives_what_the_library_gives_with_the_prompts_of_the_model(folder, reference):
    encoder = open_encoder(f"sentence-transformers:{folder}?model=tiny&device=cpu")
    assert isinstance(encoder, Encoder)
    assert (encoder.name, encoder.revision, encoder.dim) == ("tiny", None, 16)
    assert encoder.profile == EncodingProfile(
        document_prompt="passage: ", query_prompt="query: ", pooling="mean", max_tokens=32
    )
    texts = ["red fish", "blue bird", "green"]
    documents = encoder.encode_documents(texts)
    assert documents.dtype == np.float32
    np.testing.assert_allclose(
        documents, reference([f"passage: {text}" for text in texts]), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(
        encoder.encode_queries(texts),
        reference([f"query: {text}" for text in texts]),
        rtol=1e-5,
        atol=1e-6,
    )
    assert encoder.encode_documents([]).shape == (0, 16)


def test_options_change_the_profile_and_survive_in_the_address(folder, reference):
    encoder = open_encoder(
        f"sentence-transformers:{folder}",
        model="tiny",
        device="cpu",
        document_prompt="",
        query_prompt="bird: ",
        max_tokens=4,
        dimensions=8,
        batch_size=2,
    )
    expected = EncodingProfile(query_prompt="bird: ", pooling="mean", max_tokens=4)
    assert (encoder.dim, encoder.profile) == (8, expected)
    again = open_encoder(encoder.address)
    assert (again.dim, again.profile, again.address) == (8, expected, encoder.address)
    texts = ["red", "red fish", "red fish bird"]
    found = again.encode_documents(texts)
    np.testing.assert_allclose(found[:2], reference(texts[:2])[:, :8], rtol=1e-5, atol=1e-6)
    # Two words and two marks are all that four tokens leave.
    np.testing.assert_allclose(found[2], found[1], rtol=1e-5, atol=1e-6)


def test_a_space_embeds_with_the_model_when_the_store_is_opened_again(folder, tmp_path):
    address = f"sentence-transformers:{folder}?model=tiny&device=cpu"
    with vecstore.open(tmp_path) as store:
        docs = store.create_collection("docs")
        docs.create_space("v", encoder=open_encoder(address))
        docs.upsert(ids=["a", "b"], documents=["red fish", "blue bird"])
    with vecstore.open(tmp_path, encoders=open_encoder) as store:
        docs = store.collection("docs")
        assert docs.spaces["v"].space.profile.pooling == "mean"
        assert sorted(docs.search(text="fish", k=2).ids) == ["a", "b"]


def test_a_model_that_is_not_on_this_machine_is_not_downloaded(tmp_path):
    for name in ("sentence-transformers/no-such-model-at-all", str(tmp_path / "nothing")):
        with pytest.raises(NotFoundError, match="hf download"):
            open_encoder(f"sentence-transformers:{name}")


def test_arguments_out_of_range_are_refused(folder):
    for option in ("max_tokens", "batch_size"):
        with pytest.raises(InvalidArgumentError, match=option):
            open_encoder(f"sentence-transformers:{folder}?{option}=0")
