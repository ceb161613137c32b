//! Which text comes before which, whatever order they lie in.

use crate::Error;

/// Texts in the order that says which of two comes first, and the position of each in it.
pub struct Order {
    /// The text at each position.
    texts: Vec<u32>,
    /// The position of each text.
    positions: Vec<u32>,
}

impl Order {
    /// The order that `given` lists, or that in which `count` texts lie.
    ///
    /// # Errors
    /// [`Error::Order`]: it does not name each text once.
    pub fn new(given: Option<&[i64]>, count: usize) -> Result<Self, Error> {
        let Some(given) = given else {
            let texts: Vec<u32> = (0..count as u32).collect();
            return Ok(Self { positions: texts.clone(), texts });
        };
        let once = "each once";
        if given.len() < count {
            return Err(Error::Order { given: -1, position: given.len(), texts: count, once });
        }
        let positions = positions(given, count, once)?;
        Ok(Self { texts: given.iter().map(|text| *text as u32).collect(), positions })
    }

    /// The text at a position.
    pub fn text(&self, position: u32) -> u32 {
        self.texts[position as usize]
    }

    /// The position of a text.
    pub fn position(&self, text: u32) -> u32 {
        self.positions[text as usize]
    }

    /// `texts`, in this order.
    pub fn arrange<'t>(&self, texts: &[&'t str]) -> Vec<&'t str> {
        self.texts.iter().map(|text| texts[*text as usize]).collect()
    }

    /// Of each text's cluster (named by any one member), the member that comes first.
    pub fn first_of_clusters(&self, cluster: &[i64]) -> Vec<u32> {
        let mut first = vec![u32::MAX; cluster.len()];
        for (text, named) in cluster.iter().enumerate() {
            let slot = &mut first[*named as usize];
            *slot = (*slot).min(self.positions[text]);
        }
        cluster.iter().map(|named| self.text(first[*named as usize])).collect()
    }
}

/// Those of `texts` that `order` names, in that order; all of them where there is none.
///
/// # Errors
/// [`Error::Order`]: it names one twice, or one that is not there.
pub fn choose<'t>(texts: &[&'t str], order: Option<&[i64]>) -> Result<Vec<&'t str>, Error> {
    let Some(order) = order else { return Ok(texts.to_vec()) };
    positions(order, texts.len(), "each at most once")?;
    Ok(order.iter().map(|text| texts[*text as usize]).collect())
}

/// The position of each of `count` texts in `order`, `u32::MAX` where it has none.
fn positions(order: &[i64], count: usize, once: &'static str) -> Result<Vec<u32>, Error> {
    let mut positions = vec![u32::MAX; count];
    for (position, text) in order.iter().enumerate() {
        let place = usize::try_from(*text).ok().and_then(|text| positions.get_mut(text));
        match place {
            Some(place) if *place == u32::MAX => *place = position as u32,
            _ => return Err(Error::Order { given: *text, position, texts: count, once }),
        }
    }
    Ok(positions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_names_each_text_once() {
        assert!(Order::new(Some(&[2, 0, 1]), 3).is_ok());
        for wrong in [&[0, 1][..], &[0, 1, 1], &[0, 1, 3], &[0, 1, -1], &[0, 1, 2, 0]] {
            assert!(matches!(Order::new(Some(wrong), 3), Err(Error::Order { .. })), "{wrong:?}");
        }
    }

    #[test]
    fn a_choice_names_a_text_at_most_once() {
        assert_eq!(choose(&["a", "b", "c"], Some(&[2, 0])), Ok(vec!["c", "a"]));
        for wrong in [&[0, 0][..], &[3], &[-1]] {
            assert!(matches!(choose(&["a", "b", "c"], Some(wrong)), Err(Error::Order { .. })), "{wrong:?}");
        }
    }

    #[test]
    fn the_first_of_a_cluster_is_the_first_in_order() -> Result<(), Error> {
        let order = Order::new(Some(&[3, 2, 1, 0]), 4)?;
        assert_eq!(order.first_of_clusters(&[0, 1, 0, 1]), [2, 3, 2, 3]);
        assert_eq!(order.arrange(&["a", "b", "c", "d"]), ["d", "c", "b", "a"]);
        Ok(())
    }
}
