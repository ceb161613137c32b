//! Vocabulary files in and out. Every reader takes the file's bytes and its name, and answers a malformed file with an
//! [`crate::Error::Format`] that names both the file and what is wrong; never with a smaller vocabulary.

pub mod byte_chars;
mod characters;
pub mod gpt2;
pub mod huggingface;
mod normalizer;
mod pre_tokenizer;
pub mod tekken;
pub mod tiktoken;
pub mod write;
