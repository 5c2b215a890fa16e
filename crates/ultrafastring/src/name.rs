//! The name that a program gives a handle, and which part of such a text may be printed.

use core::fmt;

/// Whether a character prints as itself and changes nothing around it. Control characters do not,
/// nor do those that change the direction of text or end its line (Unicode's bidirectional
/// controls, U+2028 and U+2029).
pub(crate) fn is_text(c: char) -> bool {
    !(c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'))
}

/// The name that a program gives a handle: up to 64 bytes, for display.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ParticipantName(pub(crate) [u8; 64]);

impl ParticipantName {
    /// As much of `name` as fits into 64 bytes.
    pub fn new(name: &str) -> Self {
        let mut bytes = [0; 64];
        let mut end = name.len().min(64);
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        bytes[..end].copy_from_slice(&name.as_bytes()[..end]);
        Self(bytes)
    }

    /// The name up to its first zero byte, control character, character that changes the direction
    /// of text, or byte that is not UTF-8. So a program that prints a peer's name prints only text.
    pub fn as_str(&self) -> &str {
        let text = match core::str::from_utf8(&self.0) {
            Ok(name) => name,
            Err(error) => core::str::from_utf8(&self.0[..error.valid_up_to()]).unwrap_or(""),
        };
        text.split(|c| !is_text(c)).next().unwrap_or("")
    }
}

impl Default for ParticipantName {
    fn default() -> Self {
        Self([0; 64])
    }
}

impl fmt::Debug for ParticipantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}
