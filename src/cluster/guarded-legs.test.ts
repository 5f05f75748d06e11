import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ParticipantSid } from '../protocol/ids.ts';
import type { HostToLeg, LegToHost } from '../protocol/leg-messages.ts';
import { GuardedLegs } from './guarded-legs.ts';
import type { Link, LinkCloseReason } from './link.ts';
import { wireSamples } from './wire-fixtures.ts';

const opening = wireSamples['host-to-leg']['open'] as Extract<HostToLeg, { kind: 'open' }>;

/** A host's link to the legs, with what the legs got of it and what it heard. */
function hostLink(guarded: GuardedLegs) {
  let receive: (message: HostToLeg, epoch?: number) => void = () => undefined;
  let closed: (reason: LinkCloseReason) => void = () => undefined;
  const heard: LegToHost[] = [];
  const link: Link<LegToHost, HostToLeg> = {
    send: (message) => heard.push(message),
    close: () => undefined,
    onMessage: (receiver) => (receive = receiver),
    onClose: (listener) => (closed = listener),
  };
  const got: string[] = [];
  const wrapped = guarded.wrap(link);
  wrapped.onMessage((message, epoch) => got.push(`${message.kind} ${'leg' in message ? message.leg : epoch}`));
  wrapped.onClose(() => got.push('lost'));
  const open = (leg: string, epoch: number): void =>
    receive({ ...opening, leg: leg as ParticipantSid, identity: { ...opening.identity, roomName: 'lobby' } }, epoch);
  const resume = (leg: string, epoch: number): void => receive({ kind: 'resume', leg: leg as ParticipantSid }, epoch);
  const close = (leg: string, epoch: number): void =>
    receive({ kind: 'close', leg: leg as ParticipantSid, reason: 'left' }, epoch);
  const restate = (epoch: number): void => receive({ kind: 'restate', roomName: 'lobby' }, epoch);
  return { got, heard, open, resume, close, restate, lose: () => closed('lost') };
}

describe('GuardedLegs', () => {
  it('hears the host with the highest epoch only, and tells the one before of it', () => {
    const guarded = new GuardedLegs();
    const [old, next] = [hostLink(guarded), hostLink(guarded)];
    old.open('PA_a', 7);
    old.resume('PA_a', 7);
    next.restate(9);
    assert.deepEqual(old.got, ['open PA_a', 'resume PA_a']);
    old.open('PA_c', 7);
    old.resume('PA_a', 7);
    old.restate(8);
    assert.equal(old.got.length, 2, 'a superseded host was heard');
    assert.deepEqual(old.heard, Array(3).fill({ kind: 'superseded', roomName: 'lobby', epoch: 9 }));
    next.resume('PA_a', 9);
    assert.deepEqual(next.got, ['restate 9', 'resume PA_a']);
  });

  it('remembers hosts as long as a room has legs here, whatever becomes of the links', () => {
    const guarded = new GuardedLegs();
    const [one, other] = [hostLink(guarded), hostLink(guarded)];
    one.open('PA_a', 7);
    one.lose();
    other.open('PA_b', 3);
    assert.deepEqual(other.got, [], 'a host that had been replaced was heard again');
    guarded.legEnded('PA_a' as ParticipantSid);
    assert.equal(guarded.size, 0);
    other.open('PA_b', 3);
    other.close('PA_b', 3);
    one.open('PA_c', 2);
    assert.deepEqual(other.got, ['open PA_b', 'close PA_b']);
    assert.deepEqual(one.got, ['open PA_a', 'lost', 'open PA_c']);
    // A question about a room without legs leaves nothing behind.
    guarded.legEnded('PA_c' as ParticipantSid);
    one.restate(5);
    assert.equal(guarded.size, 0);
  });
});
