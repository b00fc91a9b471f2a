import { Stamp, type Answer, type Code, type Message, type StampError } from "@stamp/browser";
import { useRequest, useStamp, useSubscription, type RequestStatus, type StampStatus } from "@stamp/browser/react";

const stamp = new Stamp();

export function Page({ id }: { id?: string }) {
  const status: StampStatus = useStamp(stamp);
  const user: RequestStatus<{ name: string }> = useRequest<{ name: string }>(stamp, id === undefined ? null : `/api/users/${id}`, { method: "POST", body: { id }, timeout: 1000 });
  const answer: Answer<{ name: string }> | undefined = user.answer;
  const { message, error } = useSubscription(stamp, "news", undefined, { queue: "q" });
  const last: Message | undefined = message;
  useSubscription(stamp, null, (msg) => console.log(msg.text()));
  useRequest(stamp, new URL("https://app.example/x"));
  // @ts-expect-error
  useRequest(stamp, 7);
  const failed: StampError | undefined = status.error;
  const codes: (Code | undefined)[] = [failed?.code, user.error?.code, error?.code];
  if (user.error?.code === "service") console.log(user.error.answer?.body);
  console.log(codes, error?.status);
  return <p onClick={user.again}>{status.state} {user.body?.name} {answer?.status} {last?.text()} {error?.message}</p>;
}
