import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { SignalRequest, SignalResponse } from '@livekit/protocol';
import fc from 'fast-check';
import {
  answerPing,
  decodeSignalRequest,
  peekSignalRequest,
  signalRequestFromJson,
  signalResponseToJson,
} from './signal.ts';

type Message = NonNullable<ConstructorParameters<typeof SignalRequest>[0]>['message'];

function request(message: Message): Uint8Array {
  return new SignalRequest({ message: message ?? { case: undefined } }).toBinary();
}

const ping = request({ case: 'ping', value: 1_700_000_000_123n });
const pingReq = request({ case: 'pingReq', value: { timestamp: 5n, rtt: 3n } });
const offer = request({ case: 'offer', value: { type: 'offer', sdp: 'v=0\r\n'.repeat(500), id: 1 } });

describe('peekSignalRequest', () => {
  it('tells pings from everything else', () => {
    assert.deepEqual(peekSignalRequest(ping), { kind: 'ping' });
    assert.deepEqual(peekSignalRequest(pingReq), { kind: 'pingReq' });
    assert.deepEqual(peekSignalRequest(offer), { kind: 'message', fieldNumber: 1 });
    assert.deepEqual(peekSignalRequest(request({ case: 'getDataBlobRequest', value: {} })), {
      kind: 'message',
      fieldNumber: 23,
    });
    assert.deepEqual(peekSignalRequest(new Uint8Array()), { kind: 'empty' });
  });

  it('lets a message of a newer client pass', () => {
    assert.deepEqual(peekSignalRequest(Uint8Array.of(0xc2, 0x3e, 1, 7)), { kind: 'message', fieldNumber: 1000 });
  });

  it('lets the last of several fields count, as protobuf does', () => {
    assert.deepEqual(peekSignalRequest(Buffer.concat([ping, offer])), { kind: 'message', fieldNumber: 1 });
    assert.deepEqual(peekSignalRequest(Buffer.concat([offer, ping])), { kind: 'ping' });
  });

  it('finds every truncation of a message', () => {
    for (let length = 1; length < offer.length; length += 7) {
      assert.deepEqual(peekSignalRequest(offer.subarray(0, length)), { kind: 'malformed' });
    }
  });

  it('finds garbage', () => {
    const garbage = [
      [0x00],
      [0x07],
      [0xff],
      [0x0b],
      [0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
      Array<number>(11).fill(0x80),
    ];
    for (const bytes of garbage) {
      assert.deepEqual(peekSignalRequest(Uint8Array.from(bytes)), { kind: 'malformed' }, bytes.join());
    }
  });

  it('agrees with the decoder on any bytes and never throws', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        const peek = peekSignalRequest(bytes);
        const decoded = decodeSignalRequest(bytes);
        // What the scan calls malformed may still please a lenient decoder (groups); what the decoder reads as a ping must be seen.
        if (decoded !== undefined && peek.kind !== 'malformed' && decoded.message.case === 'ping') {
          assert.ok(peek.kind === 'ping' || peek.kind === 'message');
        }
        answerPing(bytes, 1);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('answerPing', () => {
  it('answers both kinds', () => {
    const pong = SignalResponse.fromBinary(answerPing(ping, 1234.9) ?? new Uint8Array());
    assert.deepEqual(pong.message, { case: 'pong', value: 1234n });
    const pongResp = SignalResponse.fromBinary(answerPing(pingReq, 1234) ?? new Uint8Array());
    assert.equal(pongResp.message.case, 'pongResp');
    assert.equal(pongResp.message.value?.lastPingTimestamp, 5n);
    assert.equal(pongResp.message.value?.timestamp, 1234n);
  });

  it('answers nothing else', () => {
    assert.equal(answerPing(offer, 1), undefined);
    assert.equal(answerPing(Uint8Array.of(0xff), 1), undefined);
  });
});

describe('JSON frames', () => {
  it('become the protobuf that a binary client would have sent', () => {
    const text = SignalRequest.fromBinary(offer).toJsonString();
    assert.deepEqual(signalRequestFromJson(text), offer);
    assert.deepEqual(signalRequestFromJson('{"ping":"1700000000123","newField":{}}'), ping);
  });

  it('are refused when they are not protojson', () => {
    for (const text of ['', '{', '[]', '7', 'null', '{"offer":7}', '{"ping":"x"}', `${'['.repeat(100_000)}`]) {
      assert.equal(signalRequestFromJson(text), undefined, text.slice(0, 20));
    }
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        signalRequestFromJson(text);
      }),
    );
  });

  it('carry responses as protojson', () => {
    const response = new SignalResponse({ message: { case: 'pong', value: 7n } });
    assert.deepEqual(JSON.parse(signalResponseToJson(response.toBinary())), { pong: '7' });
  });
});
