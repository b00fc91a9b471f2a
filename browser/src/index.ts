export { Answer } from "./answer.ts";
export type { Payload } from "./body.ts";
export type { AnswerHeaders } from "./answer_headers.ts";
export { StampError, type Code } from "./errors.ts";
export type { Refusal, StampEventMap, StateChange } from "./events.ts";
export { Message, MessageHeaders, type Match } from "./message.ts";
export type { HeaderMap, Limits, Session, Started, State } from "./messages.ts";
export { subjectOf } from "./resource.ts";
export { REST_Secure, Rest_Secure, type RestSecureFetchOptions, type RestSecureOptions, type RestSecureStatus } from "./rest_secure.ts";
export {
  Stamp, type FetchOptions, type MessageHeadersInit, type Options, type PublishOptions, type RequestManyOptions, type RequestOptions, type WhenOptions,
} from "./stamp.ts";
export { Subscription, type SubscribeOptions } from "./subscription.ts";
