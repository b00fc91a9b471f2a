// NestJS's NATS transporter, and who sent each message.
import { createParamDecorator, type ExecutionContext } from "@nestjs/common";
import { type NatsContext, type NatsOptions, RpcException, ServerNats } from "@nestjs/microservices";
import { Anonymous, type Identity, type Trust } from "@stamp/receiver";
import { identify, type NatsMessage } from "@stamp/receiver/nats";

/** What a receiver says of the message that has these headers. They are what a handler's context has of the message itself. */
const judged = new WeakMap<object, Identity | Anonymous>();

/** The transporter of NestJS, which judges each message before NestJS reads its payload: the proof is of the bytes as they came. */
export class StampedNats extends ServerNats {
  readonly #trust: Trust;

  constructor(trust: Trust, options: NonNullable<NatsOptions["options"]>) {
    super(options);
    this.#trust = trust;
  }

  override async handleMessage(channel: string, message: any): Promise<any> {
    if (message.headers) judged.set(message.headers, await this.#judge(message));
    return super.handleMessage(channel, message);
  }

  async #judge(message: NatsMessage): Promise<Identity | Anonymous> {
    try {
      return await identify(message, this.#trust);
    } catch (err) {
      if (err instanceof Anonymous) return err;
      console.error(err); // of the trust, since no message causes it
      return new Anonymous("anonymous");
    }
  }
}

/** The parameter of a handler that is the sender's identity. The handler is not called for a message of nobody: the answer is an error. */
export const Sender = createParamDecorator((_: unknown, context: ExecutionContext): Identity => {
  const headers = context.switchToRpc().getContext<NatsContext>().getHeaders();
  const sender = headers ? judged.get(headers) : undefined;
  if (!sender || sender instanceof Anonymous) throw new RpcException({ code: 401, message: sender?.verdict ?? "anonymous" });
  return sender;
});
