//! QBO's faults, in all the envelopes they come in (facts 4, A): the application's JSON, the gateway's lower-case JSON,
//! XML whatever was asked for, and per item inside a 200. What is none of these is told apart as foreign.

use super::json::Json;
use super::xml;

/// Who wrapped a fault, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Envelope {
    /// `{"Fault":{"Error":[..],"type":..}}`
    App,
    /// `{"fault":{"error":[..],"type":..}}`, with `time` in epoch milliseconds.
    Gateway,
    /// `<IntuitResponse><Fault type=".."><Error code="..">..`
    Xml,
}

/// A fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// How it came.
    pub envelope: Envelope,
    /// `ValidationFault`, `SystemFault`, `SERVICE`, `AUTHENTICATION` ...
    pub kind: String,
    /// What is wrong.
    pub errors: Vec<FaultError>,
}

/// One error of a fault.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultError {
    /// The code, as written.
    pub code: String,
    /// The short text.
    pub message: String,
    /// The long text.
    pub detail: String,
    /// The member at fault.
    pub element: Option<String>,
}

/// Far more errors than any fault has: a bound on what a hostile answer can make us keep.
pub(crate) const MAX_ERRORS: usize = 64;

impl FaultError {
    /// The code as a number: `003001` and `3001` are one code.
    #[must_use]
    pub fn number(&self) -> Option<u32> {
        self.code.trim().parse().ok()
    }

    /// The HTTP status that the gateway writes into its texts (`statusCode=401`, in XML details `statusCode: 401`).
    #[must_use]
    pub fn stated_status(&self) -> Option<u16> {
        [&self.message, &self.detail].into_iter().find_map(|text| {
            let (_, after) = text.split_once("statusCode")?;
            let after = after.trim_start_matches([' ', ':', '=']);
            let digits = after.bytes().take_while(u8::is_ascii_digit).count();
            after[..digits].parse().ok()
        })
    }

    /// Whether message or detail hold `text`, in any case.
    #[must_use]
    pub fn mentions(&self, text: &str) -> bool {
        let text = text.to_ascii_lowercase();
        [&self.message, &self.detail]
            .into_iter()
            .any(|own| own.to_ascii_lowercase().contains(&text))
    }
}

impl Fault {
    /// The fault that `body` as a whole is, if it is one.
    #[must_use]
    pub fn parse(body: &[u8]) -> Option<Self> {
        match read(body) {
            Reading::Fault(fault) => Some(fault),
            _ => None,
        }
    }

    /// The faults of single items in a batch or upload answer, each with its place.
    #[must_use]
    pub fn of_items(body: &[u8]) -> Vec<(usize, Self)> {
        let Reading::Json(json) = read(body) else {
            return Vec::new();
        };
        ["BatchItemResponse", "AttachableResponse"]
            .into_iter()
            .filter_map(|name| json.get(name))
            .flat_map(Json::items)
            .enumerate()
            .filter_map(|(at, item)| Some((at, fault_in(item)?)))
            .collect()
    }

    /// Whether any error has this code.
    #[must_use]
    pub fn has(&self, code: u32) -> bool {
        self.errors.iter().any(|error| error.number() == Some(code))
    }

    /// Whether this says that the request came too soon: refused before anything was done.
    #[must_use]
    pub fn is_throttle(&self) -> bool {
        !self.errors.is_empty()
            && self
                .errors
                .iter()
                .all(|error| error.number() == Some(3001) || error.mentions("ThrottleExceeded"))
    }

    /// Whether the gateway in front of the application said this. Its fault types are its own; the lower-case envelope is
    /// too, and in another envelope the codes must be its own (facts 4; that an upper-case SERVICE fault is its is D).
    #[must_use]
    pub fn is_gateways(&self) -> bool {
        const TYPES: [&str; 3] = ["SERVICE", "AUTHENTICATION", "AuthenticationFault"];
        const CODES: [u32; 7] = [100, 110, 3001, 3100, 3200, 3201, 3202];
        let its_code =
            |error: &FaultError| error.number().is_some_and(|code| CODES.contains(&code));
        TYPES.contains(&self.kind.as_str())
            && !self.errors.is_empty()
            && (self.envelope == Envelope::Gateway || self.errors.iter().all(its_code))
    }

    /// Whether the texts agree with the status they came under; a fault that states none agrees with all.
    #[must_use]
    pub fn agrees_with(&self, status: u16) -> bool {
        self.errors
            .iter()
            .filter_map(FaultError::stated_status)
            .all(|stated| stated == status)
    }
}

/// What a body is.
#[derive(Debug)]
pub(crate) enum Reading<'a> {
    /// Nothing, or white space.
    Empty,
    /// A fault as a whole.
    Fault(Fault),
    /// Well-formed JSON that is no fault as a whole.
    Json(Json<'a>),
    /// Something that no part of QBO's API says.
    Foreign(Foreign),
}

/// See [`Reading::Foreign`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Foreign {
    /// A page from some box on the way.
    Html,
    /// The literal text of a proxy that gave up on a stalled backend (facts 4, B).
    StreamTimeout,
    /// Anything else, half a document included.
    Text,
}

/// Reads a body. Good answers are walked, not parsed; nothing is allocated for them.
pub(crate) fn read(body: &[u8]) -> Reading<'_> {
    let body = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
    let text = body.trim_ascii();
    match text.first() {
        None => Reading::Empty,
        Some(b'{' | b'[') => match Json::checked(text) {
            Some(json) => fault_in(json).map_or(Reading::Json(json), Reading::Fault),
            None => Reading::Foreign(Foreign::Text),
        },
        Some(b'<') => xml::fault(text).map_or_else(|| Reading::Foreign(page(text)), Reading::Fault),
        _ if text.eq_ignore_ascii_case(b"stream timeout") => {
            Reading::Foreign(Foreign::StreamTimeout)
        }
        _ => Reading::Foreign(Foreign::Text),
    }
}

fn page(text: &[u8]) -> Foreign {
    let head = &text[..text.len().min(256)];
    let html = |window: &[u8]| window.eq_ignore_ascii_case(b"html");
    if head.windows(4).any(html) {
        Foreign::Html
    } else {
        Foreign::Text
    }
}

/// The fault that an answer or an item of one holds, in either spelling.
pub(crate) fn fault_in(json: Json<'_>) -> Option<Fault> {
    json.members().find_map(|(name, value)| {
        let (envelope, error, message, detail) = if name.is("Fault") {
            (Envelope::App, "Error", "Message", "Detail")
        } else if name.is("fault") {
            (Envelope::Gateway, "error", "message", "detail")
        } else {
            return None;
        };
        if value.is_null() {
            return None;
        }
        let text = |of: Json<'_>, name| of.get(name).and_then(Json::text).map(Into::into);
        let one = |item: Json<'_>| FaultError {
            code: text(item, "code").unwrap_or_default(),
            message: text(item, message).unwrap_or_default(),
            detail: text(item, detail).unwrap_or_default(),
            element: text(item, "element").filter(|element: &String| !element.is_empty()),
        };
        let errors = value.get(error).into_iter().flat_map(Json::items);
        Some(Fault {
            envelope,
            kind: text(value, "type").unwrap_or_default(),
            errors: errors.take(MAX_ERRORS).map(one).collect(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_recorded_application_fault_is_read() {
        let fault = Fault::parse(samples::DUPLICATE_NAME.as_bytes()).unwrap();
        assert_eq!(fault.envelope, Envelope::App);
        assert_eq!(fault.kind, "ValidationFault");
        assert!(fault.has(6240) && !fault.is_gateways());
        assert_eq!(
            fault.errors[0].detail,
            "The name supplied already exists. : null"
        );
        let fault = Fault::parse(samples::INVALID_ID.as_bytes()).unwrap();
        assert_eq!(fault.errors[0].element.as_deref(), Some("Id"));
    }

    #[test]
    fn the_recorded_gateway_fault_is_read() {
        let fault = Fault::parse(samples::TOKEN_EXPIRED.as_bytes()).unwrap();
        assert_eq!(fault.envelope, Envelope::Gateway);
        assert!(fault.is_gateways() && fault.has(3200));
        assert_eq!(fault.errors[0].stated_status(), Some(401));
        assert_eq!(fault.errors[0].element, None);
    }

    #[test]
    fn the_recorded_xml_faults_are_read() {
        let fault = Fault::parse(samples::THROTTLED_XML.as_bytes()).unwrap();
        assert_eq!(fault.envelope, Envelope::Xml);
        assert!(fault.is_throttle() && fault.is_gateways() && fault.agrees_with(429));
        assert!(!fault.agrees_with(403));
        let fault = Fault::parse(samples::AUTH_XML.as_bytes()).unwrap();
        assert!(fault.is_gateways() && fault.agrees_with(401));
    }

    #[test]
    fn faults_of_items_are_found_by_their_place() {
        let items = Fault::of_items(samples::BATCH.as_bytes());
        assert_eq!(items.len(), 1);
        assert_eq!(items[0].0, 1);
        assert!(items[0].1.has(610));
        let upload = Fault::of_items(samples::UPLOAD_FAILED.as_bytes());
        assert!(upload[0].1.has(6000));
    }

    #[test]
    fn what_no_part_of_the_api_says_is_foreign() {
        let foreign = |body: &str| match read(body.as_bytes()) {
            Reading::Foreign(foreign) => Some(foreign),
            _ => None,
        };
        assert_eq!(foreign(samples::HTML_503), Some(Foreign::Html));
        assert_eq!(foreign("stream timeout"), Some(Foreign::StreamTimeout));
        assert_eq!(foreign("{\"Bill\":{"), Some(Foreign::Text));
        assert_eq!(
            foreign("<IntuitResponse><Bill/></IntuitResponse>"),
            Some(Foreign::Text)
        );
        assert!(matches!(read(b" \n"), Reading::Empty));
    }

    #[test]
    fn a_gateway_answer_without_a_fault_is_none() {
        let body = r#"{"warnings":null,"fault":null,"queryResponse":{}}"#;
        assert!(matches!(read(body.as_bytes()), Reading::Json(_)));
    }

    proptest! {
        #[test]
        fn no_body_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = (read(&bytes), Fault::of_items(&bytes));
        }

        #[test]
        fn no_damaged_sample_panics(which in 0..samples::ALL.len(), at in 0_usize..2000, byte: u8) {
            let mut bytes = samples::ALL[which].as_bytes().to_vec();
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = (read(&bytes), Fault::of_items(&bytes));
            bytes.truncate(at);
            let _ = (read(&bytes), Fault::of_items(&bytes));
        }
    }
}
