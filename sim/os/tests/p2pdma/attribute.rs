//! What an administrator writes to turn peer memory on, and what is shown.

use peerbus_os::Profile;
use peerbus_os::p2pdma::{Enable, EnableError, Message, enable_show};

use super::worked_memory::example;

#[test]
fn the_attribute_takes_names_and_booleans() {
    for profile in Profile::ALL {
        let mut example = example(profile);
        example.registered(&[example.a, example.b]);
        let (a, b) = (example.id(example.a), example.id(example.b));
        example.p2pdma.publish(a, true);
        let newer = profile == Profile::Linux_7_3;
        let mut check = |written: &[u8], expect: Result<Enable, EnableError>| {
            let found = example.p2pdma.enable_store(&example.machine.tree, written);
            assert_eq!(found, expect, "{profile}: {:?}", String::from_utf8_lossy(written));
            let error = expect == Err(EnableError::NotBoolean);
            assert_eq!(example.p2pdma.take_log(), Vec::from_iter(error.then_some(Message::NotAProvider)));
        };
        check(b"0000:03:00.0", Ok(Enable::Provider(a)));
        check(b"0000:03:00.0\n", Ok(Enable::Provider(a)));
        check(b"0000:04:00.0", Err(EnableError::NotPublished(b)));
        check(b"0000:00:00.0\n", Err(EnableError::NotPublished("0000:00:00.0".parse().unwrap())));
        for looks_like_a_name in [
            "0000:03:00.0\n\n",
            "0000:01:00.9",
            "03:00.0",
            "00",
            "1 ",
            "0000:03:00.0 ",
            "1000:03:00.0",
            "01\n",
        ] {
            check(looks_like_a_name.as_bytes(), Err(EnableError::NoSuchFunction));
        }
        for yes in ["y", "Y\n", "t", "True", "1", "1\n", "on", "oN", "On\n", "yellow", "1\0"] {
            check(yes.as_bytes(), Ok(Enable::Automatic));
        }
        for no in ["n", "N\n", "f", "False", "0", "0\n", "of", "OFF", "no", "0\x7f"] {
            check(no.as_bytes(), Ok(Enable::Off));
        }
        for neither in ["", "\n", "o", "ox", "2", "ffff:03:00.0" /* f: false */, " 1", "x", "\u{e9}"] {
            let expect =
                if neither.starts_with('f') { Ok(Enable::Off) } else { Err(EnableError::NotBoolean) };
            check(neither.as_bytes(), expect);
        }
        check(&[0xff, 0xfe], Err(EnableError::NotBoolean));
        check(b"enable", if newer { Ok(Enable::Automatic) } else { Err(EnableError::NotBoolean) });
        check(b"D\n", if newer { Ok(Enable::Off) } else { Err(EnableError::NotBoolean) });
        assert_eq!(EnableError::NotBoolean.errno(), "ENODEV");
    }
    let shown = [None, Some(Enable::Off), Some(Enable::Automatic)].map(enable_show);
    assert_eq!(shown, ["none\n", "0\n", "1\n"]);
    let id = "0000:03:00.0".parse().unwrap();
    assert_eq!(enable_show(Some(Enable::Provider(id))), "0000:03:00.0\n");
}
