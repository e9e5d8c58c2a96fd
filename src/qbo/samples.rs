//! Recorded answers (facts 1, 3 and 4), byte for byte where the facts give the bytes.

/// Facts 4, A: 400.
pub(crate) const DUPLICATE_NAME: &str = r#"{"Fault":{"Error":[{"Message":"Duplicate Name Exists Error","Detail":"The name supplied already exists. : null","code":"6240"}],"type":"ValidationFault"},"time":"2020-09-29T05:58:07.300-07:00"}"#;
/// Facts 4, A: 400, without `time`.
pub(crate) const INVALID_ID: &str = r#"{"Fault":{"Error":[{"Message":"Invalid ID","Detail":"Id should be a valid number. Supplied value:1.5","code":"2030","element":"Id"}],"type":"ValidationFault"}}"#;
/// Facts 4, A: 401 of the gateway.
pub(crate) const TOKEN_EXPIRED: &str = r#"{"warnings":null,"intuitObject":null,"fault":{"error":[{"message":"message=AuthenticationFailed; errorCode=003200; statusCode=401","detail":"Token expired: AB016...","code":"3200","element":null}],"type":"AUTHENTICATION"},"report":null,"queryResponse":null,"batchItemResponse":[],"attachableResponse":[],"syncErrorResponse":null,"requestId":null,"time":1601391072830,"status":null,"cdcresponse":[]}"#;
/// Facts 4, A: 403 of the gateway, in the same envelope.
pub(crate) const FORBIDDEN: &str = r#"{"warnings":null,"intuitObject":null,"fault":{"error":[{"message":"message=ApplicationAuthorizationFailed; errorCode=003100; statusCode=403","detail":null,"code":"3100","element":null}],"type":"SERVICE"},"report":null,"queryResponse":null,"batchItemResponse":[],"attachableResponse":[],"syncErrorResponse":null,"requestId":null,"time":1601391072830,"status":null,"cdcresponse":[]}"#;
/// Facts 4, A: 500 of the gateway, in the same envelope.
pub(crate) const GATEWAY_500: &str = r#"{"warnings":null,"intuitObject":null,"fault":{"error":[{"message":"message=InternalServerError; errorCode=003100; statusCode=500","detail":null,"code":"3100","element":null}],"type":"SERVICE"},"report":null,"queryResponse":null,"batchItemResponse":[],"attachableResponse":[],"syncErrorResponse":null,"requestId":null,"time":1601391072830,"status":null,"cdcresponse":[]}"#;
/// Facts 1, D: today's 429, by analogy.
pub(crate) const THROTTLED_GATEWAY: &str = r#"{"warnings":null,"intuitObject":null,"fault":{"error":[{"message":"message=ThrottleExceeded; errorCode=003001; statusCode=429","detail":"The request limit was reached.  Try again later","code":"3001","element":null}],"type":"SERVICE"},"report":null,"queryResponse":null,"batchItemResponse":[],"attachableResponse":[],"syncErrorResponse":null,"requestId":null,"time":1601391072830,"status":null,"cdcresponse":[]}"#;
/// Facts 1, D: the same in the application's spelling.
pub(crate) const THROTTLED_APP: &str = r#"{"Fault":{"Error":[{"Message":"message=ThrottleExceeded; errorCode=003001; statusCode=429","Detail":"The request limit was reached.  Try again later","code":"3001"}],"type":"SERVICE"},"time":"2020-09-29T05:58:07.300-07:00"}"#;
/// Facts 1, A: 429 in 2016, XML even to those who asked for JSON.
pub(crate) const THROTTLED_XML: &str = r#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?><IntuitResponse time="2016-12-07T15:27:09.527-08:00" xmlns="http://schema.intuit.com/finance/v3"><Fault type="SERVICE"><Error code="3001"><Message>message=ThrottleExceeded; errorCode=003001; statusCode=429</Message><Detail>The request limit was reached.  Try again later</Detail></Error></Fault></IntuitResponse>"#;
/// Facts 4, A: 401 to those who did not ask for JSON.
pub(crate) const AUTH_XML: &str = r#"<IntuitResponse xmlns=".." time=".."><Fault type="AuthenticationFault"><Error code="100"><Message>General Authentication Error</Message><Detail>AuthenticationErrorGeneral: SRV-110-Authentication Failure , statusCode: 401</Detail></Error></Fault></IntuitResponse>"#;
/// Facts 4, B: 503 of a box on the way, shortened.
pub(crate) const HTML_503: &str = "<html><head><title>503 Service Temporarily Unavailable</title></head><body>Avi Vantage/</body></html>";
/// Facts 4, A and B [LIVE]: 200 to the void of a bill.
pub(crate) const SYSTEM_FAULT: &str = r#"{"Fault":{"Error":[{"Message":"An application error has occurred while processing your request","Detail":"System Failure Error: null","code":"10000"}],"type":"SystemFault"},"time":"2026-08-01T05:58:07.300-07:00"}"#;
/// Facts 4, A: a batch of which the second item failed.
pub(crate) const BATCH: &str = r#"{"BatchItemResponse":[{"Vendor":{"Id":"5","SyncToken":"0"},"bId":"bid1"},{"Fault":{"Error":[{"Message":"Object Not Found","Detail":"Object Not Found : Something you're trying to use has been made inactive.","code":"610","element":""}],"type":"ValidationFault"},"bId":"bid2"},{"QueryResponse":{},"bId":"bid4"}],"time":"2020-09-29T05:58:07.300-07:00"}"#;
/// Facts 4, A: 200 to a failed upload.
pub(crate) const UPLOAD_FAILED: &str = r#"{"AttachableResponse":[{"Fault":{"Error":[{"Message":"A business validation error has occurred while processing your request","Detail":"Business Validation Error","code":"6000","element":""}],"type":"ValidationFault"}}],"time":"2020-09-29T05:58:07.300-07:00"}"#;
/// Facts 3, B [LIVE]: 200 to the void of a journal entry, which did nothing.
pub(crate) const VOID_IGNORED: &str =
    r#"{"BatchItemResponse":[],"time":"2026-08-01T05:58:07.300-07:00"}"#;
/// Facts 4, A: a created invoice, shortened.
pub(crate) const INVOICE: &str = r#"{"Invoice":{"TotalAmt":362.07,"Balance":362.07,"domain":"QBO","sparse":false,"Id":"266","SyncToken":"0","MetaData":{"CreateTime":"2020-09-29T05:58:07-07:00"}},"time":"2020-09-29T05:58:07.300-07:00"}"#;
/// Facts 4, A: a voided invoice, shortened.
pub(crate) const VOIDED: &str = r#"{"Invoice":{"TotalAmt":0,"Balance":0,"PrivateNote":"Voided","domain":"QBO","sparse":false,"Id":"266","SyncToken":"1"},"time":"2020-09-29T05:58:07.300-07:00"}"#;
/// Facts 4, A: a deleted invoice.
pub(crate) const DELETED: &str = r#"{"Invoice":{"domain":"QBO","status":"Deleted","Id":"266"},"time":"2020-09-29T05:58:07.300-07:00"}"#;
/// Facts 4, A: a query's answer, shortened.
pub(crate) const QUERY: &str = r#"{"QueryResponse":{"Vendor":[{"Id":"1","SyncToken":"0"}],"startPosition":1,"maxResults":1},"time":"2020-09-29T05:58:07.300-07:00"}"#;

/// All of them.
pub(crate) const ALL: [&str; 18] = [
    DUPLICATE_NAME,
    INVALID_ID,
    TOKEN_EXPIRED,
    FORBIDDEN,
    GATEWAY_500,
    THROTTLED_GATEWAY,
    THROTTLED_APP,
    THROTTLED_XML,
    AUTH_XML,
    HTML_503,
    SYSTEM_FAULT,
    BATCH,
    UPLOAD_FAILED,
    VOID_IGNORED,
    INVOICE,
    VOIDED,
    DELETED,
    QUERY,
];
