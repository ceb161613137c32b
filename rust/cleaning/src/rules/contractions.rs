//! English words that are not what their signs make of them: contractions (`do` `n't`), abbreviations (`e.g.`),
//! clock times (`5` `pm`), emoticons. Source: the exceptions of spaCy's English tokenizer, made from their parts.

use std::sync::LazyLock;

use rustc_hash::FxHashMap;

/// No exception is longer.
const LONGEST: usize = 18;

/// Bytes of the first three parts (0 for one that there is not) of a word that is an exception.
pub fn parts_of(word: &str) -> Option<[u8; 3]> {
    if (2..=LONGEST).contains(&word.len()) { EXCEPTIONS.get(word).copied() } else { None }
}

static EXCEPTIONS: LazyLock<FxHashMap<String, [u8; 3]>> = LazyLock::new(|| {
    let mut known = Exceptions(FxHashMap::default());
    for (subjects, endings) in SUBJECTS {
        for subject in subjects.split(' ') {
            for ending in endings.split(' ') {
                known.contraction(subject, &ending.split('+').collect::<Vec<_>>());
            }
        }
    }
    for verb in
        "ai are ca could dare did does do had has have is may might must need ought sha should was were wo would"
            .split(' ')
    {
        known.contraction(verb, &["n't"]);
        if !matches!(verb, "ai" | "are" | "dare" | "has" | "have" | "is" | "was" | "were") {
            known.contraction(verb, &["n't", "'ve"]);
        }
    }
    for [first, second] in [["let", "'s"], ["c'm", "on"], ["y'", "all"], ["can", "not"], ["gon", "na"], ["got", "ta"]] {
        known.contraction(first, &[second]);
    }
    for hour in 1..=12 {
        for half in ["am", "pm", "a.m.", "p.m."] {
            known.insert(&[&hour.to_string(), half]);
        }
    }
    for word in WHOLE.split(' ') {
        known.insert(&[word]);
    }
    for letter in ('a'..='z').chain(['ä', 'ö', 'ü']) {
        known.insert(&[&format!("{letter}.")]);
    }
    known.0
});

/// Who, and what may be put after it; `+` puts two.
const SUBJECTS: [(&str, &str); 8] = [
    ("i", "'d 'd+'ve 'll 'll+'ve 'm 'm+a 've"),
    ("he she", "'d 'd+'ve 'll 'll+'ve 's"),
    ("it", "'d 'd+'ve 'll 'll+'ve 's"),
    ("we you they these those", "'d 'd+'ve 'll 'll+'ve 're 've"),
    ("who what when where why how there", "'d 'd+'ve 'll 'll+'ve 're 's 've"),
    ("that this", "'d 'd+'ve 'll 'll+'ve 's"),
    ("could might must not should would", "'ve"),
    ("how", "'d+'y"),
];

/// Words that look like a contraction without its apostrophe, and are not.
const NOT_CONTRACTED: [&str; 9] = ["ill", "its", "hell", "shell", "shed", "were", "well", "whore", "lets"];

const WHOLE: &str = concat!(
    "Adm. Ak. Ala. Apr. Ariz. Ark. Aug. Bros. Calif. Co. Colo. Conn. Corp. D.C. Dec. Del. Dr. E.G. E.g. Feb. Fla. Ga. ",
    "Gen. Gov. I.E. I.e. Ia. Id. Ill. Inc. Ind. Jan. Jr. Jul. Jun. Kan. Kans. Ky. La. Ltd. Mar. Mass. Md. Messrs. ",
    "Mich. Minn. Miss. Mo. Mont. Mr. Mrs. Ms. Mt. N.C. N.D. N.H. N.J. N.M. N.Y. Neb. Nebr. Nev. Nov. Oct. Okla. Ore. ",
    "Pa. Ph.D. Prof. Rep. Rev. S.C. Sen. Sep. Sept. St. Tenn. Va. Wash. Wis. a.m. co. e.g. i.e. p.m. v.s. vs. ",
    "C++ and/or w/o o'clock O'clock o’clock O’clock ma'am Ma'am ma’am Ma’am 'em ’em 's ’s 'S ’S 'd ’d 'll ’ll 're ’re ",
    "'cause ’cause 'bout ’bout 'cos ’cos '' ’’ doin' goin' havin' lovin' nothin' somethin' ol' Ol' \\n \\t \\\") ",
    ":) :-) :( :-( ;) ;-) :D :-D ;D :P :-P :p :-p :/ :-/ :o :O :-o :-O :| :-| :* :'( :'-( :') :3 :0 :1 :] :-] :} :> :x ",
    ":X =) =( =D =/ =3 =] =| (: (; (= (-: (-; )-: ): [: [= ]= [-: 8) 8D 8-) 8-D <3 </3 ^_^ -_- o_o O_O o_O O_o xD XD ",
    "0_0 0.0 o.o O.o O.O ._. v.v V.V >.< >.> <.< :)) :(( ;_; @_@ v_v",
);

struct Exceptions(FxHashMap<String, [u8; 3]>);

impl Exceptions {
    fn insert(&mut self, parts: &[&str]) {
        let mut lengths = [0; 3];
        for (length, part) in lengths.iter_mut().zip(parts) {
            *length = u8::try_from(part.len()).unwrap_or(0);
        }
        self.0.insert(parts.concat(), lengths);
    }

    /// `first` with `rest` after it: as written, with a capital, with the other apostrophe, and without any.
    fn contraction(&mut self, first: &str, rest: &[&str]) {
        let parts: Vec<&str> = std::iter::once(first).chain(rest.iter().copied()).collect();
        for apostrophe in ["'", "’", ""] {
            let written: Vec<String> = parts.iter().map(|part| part.replace('\'', apostrophe)).collect();
            let joined = written.concat();
            if apostrophe.is_empty() && (first == "c'm" || NOT_CONTRACTED.contains(&joined.as_str())) {
                continue;
            }
            let plain: Vec<&str> = written.iter().map(String::as_str).collect();
            self.insert(&plain);
            let capital = format!("{}{}", plain[0][..1].to_ascii_uppercase(), &plain[0][1..]);
            let mut capitalised = plain.clone();
            capitalised[0] = &capital;
            self.insert(&capitalised);
        }
    }
}
