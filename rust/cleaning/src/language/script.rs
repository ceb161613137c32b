//! Scripts by the ranges of their letters, and the languages that are written in them.

macro_rules! scripts {
    ($($name:ident),*) => {
        /// The script of a letter.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Script { $($name),* }

        impl Script {
            pub(super) const ALL: [Self; 25] = [$(Self::$name),*];
        }
    };
}

scripts!(
    Latin, Cyrillic, Arabic, Devanagari, Hebrew, Han, Kana, Greek, Hangul, Armenian, Georgian, Bengali, Gurmukhi,
    Gujarati, Oriya, Tamil, Telugu, Kannada, Malayalam, Sinhala, Thai, Lao, Myanmar, Ethiopic, Khmer
);

impl Script {
    pub(super) const COUNT: usize = Self::ALL.len();

    /// The script of a letter or of a mark that joins letters; `None` of what ends a word.
    pub(super) fn of(letter: char) -> Option<Self> {
        Some(match u32::from(letter) {
            0x41..=0x5A | 0x61..=0x7A => Self::Latin,
            0..=0xBF | 0xD7 | 0xF7 => return None,
            0xC0..=0x24F | 0x250..=0x2AF | 0x300..=0x36F | 0x1E00..=0x1EFF | 0xFF21..=0xFF3A | 0xFF41..=0xFF5A => {
                Self::Latin
            }
            0x370..=0x3FF | 0x1F00..=0x1FFF => Self::Greek,
            0x400..=0x52F => Self::Cyrillic,
            0x531..=0x587 => Self::Armenian,
            0x591..=0x5F4 | 0xFB1D..=0xFB4F => Self::Hebrew,
            0x600..=0x605 | 0x60C | 0x61B | 0x61F | 0x660..=0x66D | 0x6D4 | 0x6F0..=0x6F9 => return None,
            0x610..=0x6FF | 0x750..=0x77F | 0xFB50..=0xFDFF | 0xFE70..=0xFEFC => Self::Arabic,
            0x964..=0x96F => return None,
            0x900..=0x97F => Self::Devanagari,
            0x980..=0x9FF => Self::Bengali,
            0xA00..=0xA7F => Self::Gurmukhi,
            0xA80..=0xAFF => Self::Gujarati,
            0xB00..=0xB7F => Self::Oriya,
            0xB80..=0xBFF => Self::Tamil,
            0xC00..=0xC7F => Self::Telugu,
            0xC80..=0xCFF => Self::Kannada,
            0xD00..=0xD7F => Self::Malayalam,
            0xD80..=0xDFF => Self::Sinhala,
            0xE01..=0xE5B => Self::Thai,
            0xE81..=0xEDF => Self::Lao,
            0x1000..=0x109F => Self::Myanmar,
            0x10A0..=0x10FF | 0x1C90..=0x1CBF | 0x2D00..=0x2D2F => Self::Georgian,
            0x1100..=0x11FF | 0x3131..=0x318E | 0xAC00..=0xD7A3 => Self::Hangul,
            0x1200..=0x139F => Self::Ethiopic,
            0x1780..=0x17DD => Self::Khmer,
            0x3005 | 0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xF900..=0xFAFF | 0x2_0000..=0x3_134F => Self::Han,
            0x3041..=0x309F | 0x30A1..=0x30FA | 0x30FC..=0x30FF | 0xFF66..=0xFF9D => Self::Kana,
            _ => return None,
        })
    }

    /// The language that has the script to itself, as far as this goes.
    pub(super) const fn only(self) -> Option<&'static str> {
        Some(match self {
            Self::Latin | Self::Cyrillic | Self::Arabic | Self::Devanagari | Self::Han | Self::Kana => return None,
            Self::Hebrew => "he",
            Self::Greek => "el",
            Self::Hangul => "ko",
            Self::Armenian => "hy",
            Self::Georgian => "ka",
            Self::Bengali => "bn",
            Self::Gurmukhi => "pa",
            Self::Gujarati => "gu",
            Self::Oriya => "or",
            Self::Tamil => "ta",
            Self::Telugu => "te",
            Self::Kannada => "kn",
            Self::Malayalam => "ml",
            Self::Sinhala => "si",
            Self::Thai => "th",
            Self::Lao => "lo",
            Self::Myanmar => "my",
            Self::Ethiopic => "am",
            Self::Khmer => "km",
        })
    }

    /// Whether texts in a language of the table are in this script.
    pub(super) fn writes(self, tag: &str) -> bool {
        match self {
            Self::Cyrillic => matches!(tag, "be" | "bg" | "kk" | "ky" | "mk" | "mn" | "ru" | "sr" | "tg" | "uk"),
            Self::Arabic => matches!(tag, "ar" | "fa" | "ug" | "ur"),
            Self::Devanagari => matches!(tag, "hi" | "mr" | "ne"),
            Self::Latin => ![Self::Cyrillic, Self::Arabic, Self::Devanagari].into_iter().any(|other| other.writes(tag)),
            _ => false,
        }
    }
}
