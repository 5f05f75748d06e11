import { badMessage } from './relay-errors.ts';
import { isRecord, shape, type Check } from './wire-shape.ts';

type OfKind<Message extends { kind: string }, Kind extends Message['kind']> = Omit<
  Extract<Message, { kind: Kind }>,
  'kind'
>;

/** For each kind of message, a check of each of its fields. */
export type MessageFields<Message extends { kind: string }> = {
  readonly [Kind in Message['kind']]: { readonly [Key in keyof OfKind<Message, Kind>]-?: Check };
};

/** Everything that may be said in one direction of a channel. */
export class MessageTable<Message extends { kind: string }> {
  readonly #checks: ReadonlyMap<string, Check>;

  constructor(messages: MessageFields<Message>) {
    const kinds: [string, Record<string, Check>][] = Object.entries(messages);
    this.#checks = new Map(kinds.map(([kind, fields]) => [kind, shape(fields)]));
  }

  get kinds(): string[] {
    return [...this.#checks.keys()];
  }

  /**
   * The decoded value as a message; undefined when its kind is not known here, which a newer peer may send.
   * @throws PlenumError `relay-bad-message`
   */
  read(value: unknown): Message | undefined {
    if (!isRecord(value) || typeof value.kind !== 'string') {
      throw badMessage('it has no kind');
    }
    const check = this.#checks.get(value.kind);
    if (check === undefined) {
      return undefined;
    }
    if (!check(value)) {
      throw badMessage(`a field of \`${value.kind}\` is missing or of another type`);
    }
    return value as Message;
  }
}
