/** Desired against actual subscriptions of one connection: what has to be done, correct from any state. */
import type { MediaKind, WantedSubscription } from '../protocol/leg-messages.ts';

/** A subscription that holds a slot. */
export type HeldSubscription = {
  trackSid: string;
  producerId: string;
  kind: MediaKind;
  /** Its consumer carries transport-wide congestion control. */
  transportCc: boolean;
  /** The producer closed; the consumer is gone. */
  ended: boolean;
  /** What it serves. */
  want: Pick<WantedSubscription, 'generation'>;
};

/** A producer that can be consumed here. */
export type AvailableProducer = { kind: MediaKind; adaptable: boolean };

export type SubscriptionAction =
  | { kind: 'close'; trackSid: string }
  | { kind: 'open'; want: WantedSubscription; transportCc: boolean }
  /** A new consumer in the same slot: only its transport parameters change. */
  | { kind: 'reopen'; want: WantedSubscription; transportCc: boolean }
  /** Settings may differ; applying equal ones is free. */
  | { kind: 'tune'; want: WantedSubscription };

export type SubscriptionView = {
  desired: readonly WantedSubscription[];
  held: ReadonlyMap<string, HeldSubscription>;
  /** Producers by track sid that ended in a final state for this subscriber (codec refused). */
  refused: ReadonlyMap<string, string>;
  producer: (producerId: string) => AvailableProducer | undefined;
};

export type SubscriptionPlan = {
  actions: SubscriptionAction[];
  /** Tracks whose producer does not exist (yet). */
  missing: string[];
};

/**
 * Bandwidth estimation costs about 40 % of a forwarded packet, so it runs only where there is something to adapt: with
 * one adaptable video all videos of the connection carry transport-cc (the estimator needs all their packets), else none.
 */
function needsTransportCc(view: SubscriptionView): boolean {
  return view.desired.some((want) => want.kind === 'video' && view.producer(want.producerId)?.adaptable === true);
}

export function planSubscriptions(view: SubscriptionView): SubscriptionPlan {
  const transportCc = needsTransportCc(view) || keepsTransportCc(view);
  const desired = new Map(view.desired.map((want) => [want.trackSid as string, want]));
  const closes: SubscriptionAction[] = [];
  for (const held of view.held.values()) {
    const want = desired.get(held.trackSid);
    const gone = view.producer(held.producerId) === undefined;
    if (want === undefined || isAnother(want, held) || gone) {
      closes.push({ kind: 'close', trackSid: held.trackSid });
    }
  }
  const rest: SubscriptionAction[] = [];
  const missing: string[] = [];
  for (const want of desired.values()) {
    if (view.refused.get(want.trackSid) === want.producerId) {
      continue;
    }
    const producer = view.producer(want.producerId);
    if (producer === undefined || producer.kind !== want.kind) {
      missing.push(want.trackSid);
      continue;
    }
    rest.push(serve(want, view.held.get(want.trackSid), want.kind === 'video' && transportCc));
  }
  return { actions: [...closes, ...rest], missing };
}

/** Estimation that is no longer needed stays until its consumers end: taking it away would cost a renegotiation. */
function keepsTransportCc(view: SubscriptionView): boolean {
  return view.desired.some((want) => {
    const held = view.held.get(want.trackSid);
    return held?.transportCc === true && !held.ended && held.producerId === want.producerId;
  });
}

function serve(want: WantedSubscription, held: HeldSubscription | undefined, transportCc: boolean): SubscriptionAction {
  if (held === undefined || isAnother(want, held)) {
    return { kind: 'open', want, transportCc };
  }
  if (transportCc && !held.transportCc) {
    return { kind: 'reopen', want, transportCc };
  }
  return { kind: 'tune', want };
}

/** What is wanted cannot be had in the section that is held. A new host may begin to count anew, which changes nothing. */
function isAnother(want: WantedSubscription, held: HeldSubscription): boolean {
  const wasLetGo = (want.generation ?? 0) > (held.want.generation ?? 0);
  return held.ended || held.producerId !== want.producerId || wasLetGo;
}
