//! Files that an earlier version stored, as the newest version stores them.

use its_machine::{ItsConfiguration, MAX_ITS};

use crate::binary::{RECORD_BYTES, from_bytes, operations};
use crate::header::{Boot, Header as _};
use crate::scenario::Scenario;
use crate::text::{ParseError, upgrade_text};

/// Returns a file of text version 1 or binary version 3 in the newest form; `None` for any other.
/// Comments of a text are kept.
///
/// # Errors
/// A text of version 1 is no scenario.
pub fn upgrade(stored: &[u8]) -> Result<Option<Vec<u8>>, ParseError> {
    if let Some(text) = str::from_utf8(stored).ok().and_then(upgrade_text) {
        return Scenario::parse(&text).map(|_| Some(text.into_bytes()));
    }
    Ok(from_version_3(stored).map(|scenario| scenario.encode()))
}

/// Binary version 3: byte 0 is 3. The configurations of two ITSs are from bytes 1 and 113 on, eight
/// fields of the boot plan from byte 225 on, records of 42 bytes from byte 256 on.
fn from_version_3(bytes: &[u8]) -> Option<Scenario> {
    const FIELDS: usize = 112;
    const BOOT: usize = 8;
    let ([3, header @ ..], records) = bytes.split_first_chunk::<256>()? else { return None };
    let (first, rest) = header.split_at_checked(FIELDS)?;
    let (second, rest) = rest.split_at_checked(FIELDS)?;
    let mut boot = Boot::default().words();
    boot.iter_mut().zip(rest).take(BOOT).for_each(|(field, given)| *field = (*given).into());
    let boot = Boot::from_words(boot);
    let mut configurations = [ItsConfiguration::DEFAULT; MAX_ITS];
    for (configuration, bytes) in configurations.iter_mut().zip([first, second]) {
        *configuration = from_bytes(bytes);
    }
    let (records, []) = records.as_chunks::<RECORD_BYTES>() else { return None };
    let mut scenario = Scenario { configurations, boot, operations: operations(records, &boot) };
    scenario.fix_up();
    Some(scenario)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_file_of_version_3_is_the_same_scenario() {
        let text = "\
itsdiff 2
its0 page-size=4K pace=late
its1 pace=never
boot stage=probed its=2
write-cwriter cpu=1
";
        let scenario = Scenario::parse(text).unwrap();
        let mut bytes = vec![0; 256 + RECORD_BYTES];
        bytes[0] = 3;
        let new = scenario.encode();
        bytes[1..65].copy_from_slice(&new[64..128]);
        bytes[113..177].copy_from_slice(&new[192..256]);
        bytes[225..233].copy_from_slice(&new[1..9]);
        bytes[256..].copy_from_slice(&new[320..]);
        assert_eq!(upgrade(&bytes), Ok(Some(new.clone())));
        assert_eq!(upgrade(&new), Ok(None));
        assert_eq!(upgrade(text.as_bytes()), Ok(None));
        assert_eq!(upgrade(&bytes[..255]), Ok(None));
        let upgraded = upgrade(b"itsdiff 1 # old\npost\n");
        assert_eq!(upgraded, Ok(Some(b"itsdiff 2 # old\nwrite-cwriter\n".into())));
        let cut = &bytes[..bytes.len() - 1];
        assert_eq!(upgrade(cut), Ok(None));
        assert!(upgrade(b"itsdiff 1\npost office\n").is_err());
    }
}
