//! What a password has to be, and what is kept of it.

use reinstate_api::{Code, Failure, Secret};
use sha_crypt::{Algorithm, Params, PasswordHasher, ShaCrypt};

use crate::profile::Passwords;

/// crypt(3) takes longer ones, and nobody types them.
const MOST: usize = 256;

/// A guess takes so many times as long as one hash; a login takes a tenth of a second.
const ROUNDS: u32 = 100_000;

/// Sixteen characters, which is all that crypt(3) takes for a salt.
const SALT: usize = 12;

const KINDS: &str = "upper-case letters, lower-case letters, digits and other characters";

/// As sentences, for whoever chooses one.
pub fn sentences(rules: &Passwords) -> Vec<String> {
    let mut sentences = vec![format!("A password has at least {} characters.", rules.min_length)];
    match rules.classes {
        0 | 1 => {}
        4 => sentences.push(format!("It has all of these: {KINDS}.")),
        classes => sentences.push(format!("It has at least {classes} of these: {KINDS}.")),
    }
    sentences.push("It does not contain the user's name.".into());
    sentences
}

/// # Errors
/// `password-refused`, naming the rule.
pub fn check(rules: &Passwords, user: &str, password: &Secret) -> Result<(), Failure> {
    let refused = |why: String| {
        Err(Failure::new(Code::PasswordRefused, format!("the password for '{user}' {why}"))
            .hint(sentences(rules).join(" ")))
    };
    let text = password.expose();
    let length = text.chars().count();
    if text.chars().any(char::is_control) {
        return refused("holds a control character".into());
    }
    if text.len() > MOST {
        return refused(format!("has {} bytes, of at most {MOST}", text.len()));
    }
    if length < rules.min_length as usize {
        return refused(format!("has {length} characters, of at least {}", rules.min_length));
    }
    let has = |is: &dyn Fn(char) -> bool| u32::from(text.chars().any(is));
    let letter_or_digit = |c: char| c.is_uppercase() || c.is_lowercase() || c.is_ascii_digit();
    let kinds = has(&char::is_uppercase)
        + has(&char::is_lowercase)
        + has(&|c| c.is_ascii_digit())
        + has(&|c| !letter_or_digit(c));
    if kinds < rules.classes {
        return refused(format!("has {kinds} of the kinds of characters, of at least {}", rules.classes));
    }
    if !user.is_empty() && text.to_lowercase().contains(&user.to_lowercase()) {
        return refused("contains the user's name".into());
    }
    Ok(())
}

/// As crypt(3) takes it, with a random salt.
pub fn hash(password: &Secret) -> Result<String, Failure> {
    let cannot = |why: String| Failure::new(Code::Internal, format!("the password cannot be hashed: {why}"));
    let mut salt = [0; SALT];
    getrandom::fill(&mut salt).map_err(|e| cannot(e.to_string()))?;
    let params = Params::new(ROUNDS).map_err(|e| cannot(e.to_string()))?;
    let hasher = ShaCrypt::new(Algorithm::Sha512Crypt, params);
    let hash = hasher.hash_password_with_salt(password.expose().as_bytes(), &salt);
    Ok(hash.map_err(|e| cannot(e.to_string()))?.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Passwords {
        Passwords { min_length: 8, classes: 3 }
    }

    fn why(password: &str) -> String {
        let failure = check(&rules(), "alice", &Secret::new(password.into())).unwrap_err();
        assert_eq!(failure.code, Code::PasswordRefused);
        assert!(!failure.message.contains(password) && !failure.hint.contains(password), "{failure:?}");
        failure.message
    }

    #[test]
    fn a_password_that_is_refused_is_told_by_which_rule() {
        assert!(why("Sh0rt!").contains("has 6 characters, of at least 8"));
        assert!(why("onlylowercase1").contains("has 2 of the kinds of characters, of at least 3"));
        assert!(why("xxALICE99").contains("contains the user's name"));
        assert!(why("Tab\tinside9").contains("control character"));
        assert!(why(&"Aa1".repeat(100)).contains("has 300 bytes, of at most 256"));
        for good in ["Corr3ct-horse", "Grüße:123", "ÄÖÜäöü99"] {
            check(&rules(), "alice", &Secret::new(good.into())).unwrap();
        }
    }

    #[test]
    fn the_rules_are_told_as_they_are() {
        let text = sentences(&Passwords { min_length: 12, classes: 2 }).join(" ");
        assert!(text.contains("at least 12 characters") && text.contains("at least 2 of these"), "{text}");
        assert_eq!(sentences(&Passwords { min_length: 8, classes: 1 }).len(), 2);
    }

    #[test]
    fn a_hash_is_the_one_that_crypt_makes_and_no_two_are_the_same() {
        let password = Secret::new("Grüße:123".into());
        let (one, two) = (hash(&password).unwrap(), hash(&password).unwrap());
        assert_ne!(one, two);
        // $6$ rounds= salt hash: crypt(3) cuts a longer salt, and then nobody gets in.
        let fields: Vec<_> = one.split('$').collect();
        assert_eq!((fields.len(), fields[1], fields[2], fields[3].len()), (5, "6", "rounds=100000", 16));
        assert_eq!(fields[4].len(), 86);
        assert_eq!(crypt(password.expose(), &one), one);
        assert_ne!(crypt("another", &one), one);
    }

    /// The system's own crypt(3).
    fn crypt(password: &str, setting: &str) -> String {
        let script = "print crypt($ARGV[0], $ARGV[1])";
        let output = std::process::Command::new("perl").args(["-e", script, password, setting]).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    }
}
