//! The merges of a vocabulary, made from either of the two ways files give them: ranks of tokens, or a list of pairs.

use rustc_hash::FxHashMap;

use crate::merge::merge;
use crate::pairs::{MAX_SYMBOLS, NONE, PairTable, Symbol};
use crate::symbols::{Dropout, Symbols};
use crate::tokens::{TokenIndex, Tokens};

/// Merges over symbols (see [`crate::pairs`]) and the id of each symbol.
pub struct Bpe {
    pairs: PairTable,
    ids: Vec<u32>,
    /// The token that is a whole pretoken is taken as it is, even where merging would not make it.
    whole_first: bool,
    /// Ids of tokens that merging alone does not make of their own bytes, sorted; empty when `whole_first`.
    unreachable: Vec<u32>,
}

type Made<T> = std::result::Result<T, String>;

impl Bpe {
    /// Merges as tiktoken defines them: any two neighbours whose bytes together are a token may merge, the lowest rank
    /// first; and a pretoken that is a token needs no merging. `ranked`: all ordinary ids, ascending by rank.
    ///
    /// # Errors
    /// A message when a byte is missing or there are too many tokens.
    pub fn from_ranks(tokens: &Tokens, index: &TokenIndex, ranked: &[u32]) -> Made<Self> {
        let mut ids = byte_ids(tokens, index)?;
        let symbol_of = number(tokens, ranked, &mut ids)?;
        let mut pairs = PairTable::with_capacity(ranked.len());
        let mut parts = Vec::new();
        let mut odd = Vec::new();
        for symbol in 256..ids.len() as Symbol {
            parts.clear();
            merge(&pairs, tokens.get(ids[symbol as usize]).unwrap_or_default(), &mut parts);
            match parts[..] {
                [left, right] => pairs.insert(left, right, symbol),
                _ => odd.push(symbol),
            }
        }
        // A token whose bytes do not come down to two with the lower ranks alone is either never made by merging, or it is made of a token of a
        // higher rank, which no training gives. In that case every token is looked at again, with all ranks.
        let last_pair = |symbol: Symbol| {
            simulate(tokens.get(ids[symbol as usize]).unwrap_or_default(), |bytes| {
                index.get(tokens, bytes).and_then(|id| symbol_of.get(&id).copied())
            })
        };
        if odd.iter().any(|&symbol| last_pair(symbol).is_some()) {
            pairs = PairTable::with_capacity(ranked.len());
            for symbol in 256..ids.len() as Symbol {
                if let Some((left, right)) = last_pair(symbol) {
                    pairs.insert(left, right, symbol);
                }
            }
        }
        Ok(Self { pairs, ids, whole_first: true, unreachable: Vec::new() })
    }

    /// Merges as HF tokenizers defines them: the pairs of ids in `merges`, the first of the list first.
    ///
    /// # Errors
    /// A message when a byte is missing, a pair makes no token, or there are too many tokens.
    pub fn from_merges(tokens: &Tokens, index: &TokenIndex, merges: &[(u32, u32)], whole_first: bool) -> Made<Self> {
        let mut ids = byte_ids(tokens, index)?;
        let mut joined = Vec::new();
        let mut makes = Vec::with_capacity(merges.len());
        let mut ranks: FxHashMap<u32, u32> = FxHashMap::default();
        let mut repeated = false;
        for (rank, &(left, right)) in merges.iter().enumerate() {
            joined.clear();
            joined.extend_from_slice(tokens.get(left).unwrap_or_default());
            joined.extend_from_slice(tokens.get(right).unwrap_or_default());
            let Some(made) = index.get(tokens, &joined) else {
                return Err(format!(
                    "merge {rank} makes {:?}, which is not in the vocabulary",
                    String::from_utf8_lossy(&joined)
                ));
            };
            makes.push(made);
            repeated |= ranks.insert(made, rank as u32).is_some();
        }
        if repeated {
            ranks = reachable_ranks(tokens, index, merges, &makes);
        }
        let mut order: Vec<(u32, u32)> = ranks.iter().map(|(&id, &rank)| (rank, id)).collect();
        order.sort_unstable();
        let ranked: Vec<u32> = order.iter().map(|&(_, id)| id).collect();
        let symbol_of = number(tokens, &ranked, &mut ids)?;
        let mut pairs = PairTable::with_capacity(ranked.len());
        let symbol = |id: u32| match tokens.get(id) {
            Some(&[byte]) => Some(Symbol::from(byte)),
            _ => symbol_of.get(&id).copied(),
        };
        for &(rank, id) in &order {
            let (left, right) = merges[rank as usize];
            if let (Some(left), Some(right), Some(made)) = (symbol(left), symbol(right), symbol(id)) {
                pairs.insert(left, right, made);
            }
        }
        let mut bpe = Self { pairs, ids, whole_first, unreachable: Vec::new() };
        if !whole_first {
            bpe.unreachable = bpe.find_unreachable(tokens);
        }
        Ok(bpe)
    }

    fn find_unreachable(&self, tokens: &Tokens) -> Vec<u32> {
        let mut out = Vec::new();
        let mut parts = Vec::new();
        for (id, bytes) in tokens.iter() {
            parts.clear();
            merge(&self.pairs, bytes, &mut parts);
            if parts.len() != 1 || self.ids[parts[0] as usize] != id {
                out.push(id);
            }
        }
        out
    }

    /// Appends the ids of one pretoken that is not a token to `out`; `symbols` is scratch space.
    #[inline]
    pub fn encode(&self, bytes: &[u8], symbols: &mut Vec<Symbol>, out: &mut Vec<u32>) {
        symbols.clear();
        merge(&self.pairs, bytes, symbols);
        out.extend(symbols.iter().map(|&s| self.ids[s as usize]));
    }

    /// Appends the ids of one pretoken to `out`, with merges left out at random; `list` is scratch space.
    pub fn encode_with_dropout(
        &self,
        bytes: &[u8],
        list: &mut Symbols,
        dropout: Option<&mut Dropout>,
        out: &mut Vec<u32>,
    ) {
        list.clear();
        bytes.iter().for_each(|&b| list.push(b.into(), 1));
        list.merge(&self.pairs, dropout);
        out.extend(list.iter().map(|(s, _)| self.ids[s as usize]));
    }

    /// Whether a pretoken with the bytes of token `id` becomes that token.
    #[inline]
    pub fn takes_whole(&self, id: u32) -> bool {
        self.unreachable.is_empty() || self.unreachable.binary_search(&id).is_err()
    }

    /// Whether a whole pretoken is looked up before anything is merged.
    pub fn whole_first(&self) -> bool {
        self.whole_first
    }

    /// Every merge as a pair of ids and the id it makes, in order.
    pub fn merges(&self) -> Vec<(u32, u32, u32)> {
        let id = |s: Symbol| self.ids[s as usize];
        self.pairs.sorted().into_iter().map(|(l, r, m)| (id(l), id(r), id(m))).collect()
    }
}

fn byte_ids(tokens: &Tokens, index: &TokenIndex) -> Made<Vec<u32>> {
    (0..=255u8)
        .map(|b| {
            index
                .get(tokens, &[b])
                .ok_or_else(|| format!("byte 0x{b:02X} has no token of its own; a byte-level vocabulary needs all 256"))
        })
        .collect()
}

/// Gives the tokens of more than one byte in `ranked` their symbols; returns them by id.
fn number(tokens: &Tokens, ranked: &[u32], ids: &mut Vec<u32>) -> Made<FxHashMap<u32, Symbol>> {
    let mut symbol_of = FxHashMap::with_capacity_and_hasher(ranked.len(), rustc_hash::FxBuildHasher);
    for &id in ranked {
        if tokens.get(id).unwrap_or_default().len() > 1 {
            symbol_of.insert(id, ids.len() as Symbol);
            ids.push(id);
        }
    }
    if ids.len() > MAX_SYMBOLS {
        return Err(format!("it has {} tokens; at most {MAX_SYMBOLS} are supported", ids.len()));
    }
    Ok(symbol_of)
}

/// The last pair that merges when `bytes` are merged alone, with `rank` looking up whole tokens; none when it never becomes one.
fn simulate(bytes: &[u8], rank: impl Fn(&[u8]) -> Option<Symbol>) -> Option<(Symbol, Symbol)> {
    let mut bounds: Vec<usize> = (0..=bytes.len()).collect();
    let symbol =
        |from: usize, to: usize| if to - from == 1 { Some(Symbol::from(bytes[from])) } else { rank(&bytes[from..to]) };
    while bounds.len() > 3 {
        let best = bounds.windows(3).enumerate().filter_map(|(i, w)| rank(&bytes[w[0]..w[2]]).map(|r| (r, i))).min()?;
        bounds.remove(best.1 + 1);
    }
    Some((symbol(bounds[0], bounds[1])?, symbol(bounds[1], *bounds.get(2)?)?))
}

/// For each token that several merges make, the rank of the one that can happen; see [`crate::pairs`].
fn reachable_ranks(tokens: &Tokens, index: &TokenIndex, merges: &[(u32, u32)], makes: &[u32]) -> FxHashMap<u32, u32> {
    let rank_of: FxHashMap<(u32, u32), u32> = (0..).zip(merges).map(|(rank, &pair)| (pair, rank)).collect();
    let mut out = FxHashMap::default();
    for &made in makes {
        if out.contains_key(&made) {
            continue;
        }
        let bytes = tokens.get(made).unwrap_or_default();
        let mut parts: Vec<u32> = bytes.iter().filter_map(|&b| index.get(tokens, &[b])).collect();
        let mut last = NONE;
        while parts.len() > 1 {
            let best =
                parts.windows(2).enumerate().filter_map(|(i, w)| rank_of.get(&(w[0], w[1])).map(|&r| (r, i))).min();
            let Some((rank, i)) = best else { break };
            parts.splice(i..i + 2, [makes[rank as usize]]);
            last = rank;
        }
        if parts.len() == 1 {
            out.insert(made, last);
        }
    }
    out
}
