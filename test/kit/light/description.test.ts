import assert from 'node:assert/strict';
import { it } from 'node:test';
import { answerSection, extensionUris, parseDescription, writeDescription } from './description.ts';

const offer = [
  'v=0',
  'o=- 1 1 IN IP4 0.0.0.0',
  's=-',
  't=0 0',
  'a=ice-lite',
  'a=fingerprint:sha-256 AA:BB',
  'a=group:BUNDLE 0 probator 1',
  'm=application 9 UDP/DTLS/SCTP webrtc-datachannel',
  'c=IN IP4 0.0.0.0',
  'a=mid:0',
  'a=sctp-port:5000',
  'a=ice-ufrag:u',
  'a=ice-pwd:p',
  'a=setup:actpass',
  'a=candidate:1 1 udp 1076302079 127.0.0.1 50000 typ host',
  'a=candidate:2 1 tcp 1076276479 127.0.0.1 50000 typ host tcptype passive',
  'm=video 9 UDP/TLS/RTP/SAVPF 96 97',
  'c=IN IP4 0.0.0.0',
  'a=mid:1',
  'a=sendonly',
  'a=msid:PA_a|TR_VCx TR_VCx',
  'a=rtcp-mux',
  'a=rtpmap:96 VP8/90000',
  'a=rtpmap:97 rtx/90000',
  'a=fmtp:97 apt=96',
  `a=extmap:5 ${extensionUris.transportCc}`,
  'a=ssrc-group:FID 11 12',
  'a=ssrc:11 cname:x',
  'a=ssrc:12 cname:x',
  'm=audio 9 UDP/TLS/RTP/SAVPF 111',
  'a=mid:2',
  'a=inactive',
  'a=rtpmap:111 opus/48000/2',
  '',
].join('\r\n');

it('reads what a server offers', () => {
  const read = parseDescription(offer);
  assert.deepEqual([read.ufrag, read.password, read.fingerprint, read.setup], ['u', 'p', 'AA:BB', 'actpass']);
  assert.deepEqual(read.candidates, [{ address: '127.0.0.1', port: 50_000 }]);
  const [, video, audio] = read.sections;
  assert.equal(video?.direction, 'sendonly');
  assert.deepEqual([video?.streamId, video?.trackId], ['PA_a|TR_VCx', 'TR_VCx']);
  assert.deepEqual(video?.ssrcs, [11, 12]);
  assert.equal(video?.rtx.get(11), 12);
  assert.equal(video?.extensions.get(extensionUris.transportCc), 5);
  assert.equal(audio?.direction, 'inactive');
});

it('answers every section in order, receiving what is sent', () => {
  const sections = parseDescription(offer).sections.map(answerSection);
  const local = { ufrag: 'mine', password: 'secret', fingerprint: 'CC:DD', setup: 'active' as const };
  const answer = parseDescription(writeDescription(local, 1, sections));
  assert.deepEqual(
    answer.sections.map(({ mid, direction }) => [mid, direction]),
    [
      ['0', 'sendrecv'],
      ['1', 'recvonly'],
      ['2', 'inactive'],
    ],
  );
  assert.deepEqual(
    answer.sections[1]?.codecs.map(({ name }) => name),
    ['vp8', 'rtx'],
  );
  assert.equal(answer.setup, 'active');
  assert.deepEqual(answer.sections[1]?.ssrcs, []);
});
