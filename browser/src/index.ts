export { Message, type Answer } from "./answer.ts";
export { StampError, type Code, type HeaderMap, type Limits, type Session, type Started, type State } from "./messages.ts";
export { subjectOf } from "./resource.ts";
export { REST_Secure, type RestSecureFetchOptions, type RestSecureOptions } from "./rest_secure.ts";
export { Stamp, type FetchOptions, type Options, type RequestOptions, type Subscription } from "./stamp.ts";
