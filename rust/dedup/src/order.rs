//! Which text comes before which, whatever order they lie in.

use gristlm_mapped::Array;

use crate::Error;
use crate::corpus::Corpus;
use crate::room::Room;

/// Texts in the order that says which of two comes first, and the position of each in it.
pub struct Order {
    /// The text at each position.
    texts: Array<u32>,
    /// The position of each text.
    positions: Array<u32>,
}

impl Order {
    /// The order that `given` lists, or that in which `count` texts lie.
    ///
    /// # Errors
    /// [`Error::Order`]: it does not name each text once. [`Error::Storage`].
    pub fn new(given: Option<&[i64]>, count: usize, room: Room<'_>) -> Result<Self, Error> {
        let Some(given) = given else {
            let as_they_lie = || room.array(count, |text| text as u32);
            return Ok(Self { texts: as_they_lie()?, positions: as_they_lie()? });
        };
        let once = "each once";
        if given.len() < count {
            return Err(Error::Order { given: -1, position: given.len(), texts: count, once });
        }
        let positions = positions(given, count, once, room)?;
        Ok(Self { texts: room.array(count, |position| given[position] as u32)?, positions })
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
    pub fn arrange<'t>(&'t self, texts: &'t dyn Corpus) -> Chosen<'t, u32> {
        Chosen { texts, numbers: &self.texts }
    }

    /// Of each text's cluster (named by any one member), the member that comes first.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn first_of_clusters(&self, cluster: &[i64], room: Room<'_>) -> Result<Array<u32>, Error> {
        let mut first = room.array(cluster.len(), |_| u32::MAX)?;
        for (text, named) in cluster.iter().enumerate() {
            let slot = &mut first[*named as usize];
            *slot = (*slot).min(self.positions[text]);
        }
        room.array(cluster.len(), |text| self.text(first[cluster[text] as usize]))
    }
}

/// Some of the texts of another corpus, in an order of their own.
pub struct Chosen<'t, N> {
    texts: &'t dyn Corpus,
    numbers: &'t [N],
}

impl<N: Copy + Sync + TryInto<usize>> Corpus for Chosen<'_, N> {
    fn len(&self) -> usize {
        self.numbers.len()
    }

    fn text(&self, number: usize) -> &str {
        // Every number was compared with the count of texts when the order was made.
        self.numbers[number].try_into().map_or("", |text| self.texts.text(text))
    }
}

/// Those of `texts` that `order` names, in that order.
///
/// # Errors
/// [`Error::Order`]: it names one twice, or one that is not there. [`Error::Storage`].
pub fn choose<'t>(texts: &'t dyn Corpus, order: &'t [i64], room: Room<'_>) -> Result<Chosen<'t, i64>, Error> {
    positions(order, texts.len(), "each at most once", room)?;
    Ok(Chosen { texts, numbers: order })
}

/// The position of each of `count` texts in `order`, `u32::MAX` where it has none.
fn positions(order: &[i64], count: usize, once: &'static str, room: Room<'_>) -> Result<Array<u32>, Error> {
    let mut positions = room.array(count, |_| u32::MAX)?;
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
        assert!(Order::new(Some(&[2, 0, 1]), 3, Room::default()).is_ok());
        for wrong in [&[0, 1][..], &[0, 1, 1], &[0, 1, 3], &[0, 1, -1], &[0, 1, 2, 0]] {
            assert!(matches!(Order::new(Some(wrong), 3, Room::default()), Err(Error::Order { .. })), "{wrong:?}");
        }
    }

    #[test]
    fn a_choice_names_a_text_at_most_once() {
        let texts = ["a", "b", "c"];
        let chosen = choose(&texts, &[2, 0], Room::default()).unwrap();
        assert_eq!((chosen.len(), chosen.text(0), chosen.text(1)), (2, "c", "a"));
        for wrong in [&[0, 0][..], &[3], &[-1]] {
            assert!(matches!(choose(&texts, wrong, Room::default()), Err(Error::Order { .. })), "{wrong:?}");
        }
    }

    #[test]
    fn the_first_of_a_cluster_is_the_first_in_order() -> Result<(), Error> {
        let order = Order::new(Some(&[3, 2, 1, 0]), 4, Room::default())?;
        assert_eq!(*order.first_of_clusters(&[0, 1, 0, 1], Room::default())?, [2, 3, 2, 3]);
        let texts = ["a", "b", "c", "d"];
        assert_eq!((0..4).map(|at| order.arrange(&texts).text(at).to_owned()).collect::<String>(), "dcba");
        Ok(())
    }
}
