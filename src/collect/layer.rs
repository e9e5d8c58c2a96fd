//! The two edges as layers.

use super::service::{Edge, Whole};
use crate::error::InvalidConfig;
use tower_layer::Layer;

fn check(field: &str, limit: usize) -> Result<usize, InvalidConfig> {
    if limit == 0 {
        return Err(InvalidConfig::new(
            field,
            "is 0, so that no body would pass: use 1 MiB for requests, 16 MiB for answers",
        ));
    }
    Ok(limit)
}

/// The outer edge: any body in, headers that tell where the answer came from out.
#[derive(Clone, Copy, Debug)]
pub struct EdgeLayer {
    limit: usize,
}

impl EdgeLayer {
    /// Takes request bodies of up to `limit` bytes.
    ///
    /// # Errors
    /// When the limit is 0.
    pub fn new(limit: usize) -> Result<Self, InvalidConfig> {
        Ok(Self {
            limit: check("collect.request_limit", limit)?,
        })
    }
}

impl<S> Layer<S> for EdgeLayer {
    type Service = Edge<S>;

    fn layer(&self, inner: S) -> Edge<S> {
        Edge::new(inner, self.limit)
    }
}

/// The inner edge: reads every answer whole.
#[derive(Clone, Copy, Debug)]
pub struct WholeLayer {
    limit: usize,
}

impl WholeLayer {
    /// Takes answer bodies of up to `limit` bytes.
    ///
    /// # Errors
    /// When the limit is 0.
    pub fn new(limit: usize) -> Result<Self, InvalidConfig> {
        Ok(Self {
            limit: check("collect.answer_limit", limit)?,
        })
    }
}

impl<S> Layer<S> for WholeLayer {
    type Service = Whole<S>;

    fn layer(&self, inner: S) -> Whole<S> {
        Whole::new(inner, self.limit)
    }
}
