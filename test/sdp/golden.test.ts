import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
// oxlint-disable-next-line no-restricted-imports -- mediasoup's own validation is the oracle here
import { getProducerRtpParametersMapping, validateAndNormalizeRtpParameters } from 'mediasoup/ortc';
import type * as types from 'mediasoup/types';
import * as sdpTransform from 'sdp-transform';
import { formatDescription } from '../../src/sdp/format.ts';
import { answerLimits, parseDescription } from '../../src/sdp/parse.ts';
import { formatSubscriberOffer } from '../../src/sdp/offer.ts';
import { readSubscriberAnswer } from '../../src/sdp/subscriber-answer.ts';
import { answerGolden, formatPublications, localTransport, routerCapabilities } from './expected.ts';
import { goldenOffers, goldenSubscriberAnswers, readGolden } from './golden.ts';

const offers = goldenOffers();
const answers = goldenSubscriberAnswers();

it('has recordings of every kind of client', () => {
  const clients = new Set(offers.map(({ name }) => name.slice(0, name.indexOf('-'))));
  assert.deepEqual(
    [...clients].toSorted((left, right) => left.localeCompare(right)),
    ['chromium', 'firefox', 'rtcnode', 'synthetic'],
  );
  assert.ok(answers.length > 10);
});

for (const golden of offers) {
  describe(`recorded offer ${golden.name}`, () => {
    it('gives the expected plans and answer', () => {
      const { publications, answer } = answerGolden(golden);
      assert.equal(formatPublications(publications), readGolden(`${golden.name}.plan.json`));
      assert.equal(answer, readGolden(`${golden.name}.answer.sdp`));
    });

    it('gives producer parameters that mediasoup accepts', () => {
      for (const { plan } of answerGolden(golden).publications) {
        assert.ok(plan.kind === 'plan');
        const parameters = structuredClone(plan.rtpParameters) as types.RtpParameters;
        validateAndNormalizeRtpParameters(parameters);
        getProducerRtpParametersMapping(parameters, routerCapabilities() as types.RtpCapabilities);
      }
    });

    it('is answered with its own sections, codecs, extensions and rids only', () => {
      const offer = sdpTransform.parse(golden.sdp);
      const answer = sdpTransform.parse(answerGolden(golden).answer);
      assert.deepEqual(
        answer.media.map(({ mid, type }) => `${mid} ${type}`),
        offer.media.map(({ mid, type }) => `${mid} ${type}`),
      );
      for (const [index, section] of answer.media.entries()) {
        const offered = offer.media[index];
        const pairs = (list: { value: number; uri: string }[] | undefined): string[] =>
          (list ?? []).map(({ value, uri }) => `${value} ${uri}`);
        assert.deepEqual(missing(pairs(section.ext), pairs(offered?.ext)), []);
        const codecs = (list: { payload: number; codec: string }[] | undefined): string[] =>
          (list ?? []).map(({ payload, codec }) => `${payload} ${codec}`);
        assert.deepEqual(missing(codecs(section.rtp), codecs(offered?.rtp)), []);
        const rids = (list: { id: string | number }[] | undefined): string[] =>
          (list ?? []).map(({ id }) => String(id));
        assert.deepEqual(missing(rids(section.rids), rids(offered?.rids)), []);
        const feedback = (list: { payload: number | string; type: string; subtype?: string }[] | undefined): string[] =>
          (list ?? []).map(({ payload, type, subtype }) => `${payload} ${type} ${subtype ?? ''}`);
        const wildcards = feedback(offered?.rtcpFb)
          .filter((each) => each.startsWith('* '))
          .map((each) => each.slice(2));
        const unasked = missing(feedback(section.rtcpFb), feedback(offered?.rtcpFb));
        assert.deepEqual(
          unasked.filter((each) => !wildcards.includes(each.slice(each.indexOf(' ') + 1))),
          [],
        );
      }
    });

    it('is read like sdp-transform reads it', () => {
      compareWithOracle(golden.sdp);
      compareWithOracle(answerGolden(golden).answer);
    });

    it('comes back the same through format and parse', () => {
      const description = parseDescription(golden.sdp);
      assert.deepEqual(parseDescription(formatDescription(description)), description);
      const { answer } = answerGolden(golden);
      assert.equal(formatDescription(parseDescription(answer)), answer);
    });
  });
}

for (const golden of answers) {
  describe(`recorded subscriber answer ${golden.name}`, () => {
    const offered = { data: true, probator: true, slots: golden.slots };

    it('accepts every track that was offered', () => {
      const read = readSubscriberAnswer({ answer: parseDescription(golden.sdp, answerLimits), offered });
      const carrying = golden.slots.filter(({ track }) => track !== undefined).map(({ mid }) => mid);
      assert.deepEqual([...read.accepted], carrying);
      assert.equal(read.refused.size, 0);
      assert.equal(read.data, true);
      assert.equal(read.transport.dtlsRole, 'client');
    });

    it('was made for an offer that sdp-transform reads like we do', () => {
      compareWithOracle(golden.sdp);
      compareWithOracle(formatSubscriberOffer({ ...offered, transport: localTransport, sessionId: '1', version: 2 }));
    });
  });
}

function missing(some: string[], all: string[]): string[] {
  return some.filter((each) => !all.includes(each));
}

function compareWithOracle(sdp: string): void {
  const ours = parseDescription(sdp, answerLimits);
  const theirs = sdpTransform.parse(sdp);
  assert.equal(ours.sections.length, theirs.media.length);
  assert.equal(ours.bundle.join(' '), String(theirs.groups?.[0]?.mids));
  for (const [index, section] of ours.sections.entries()) {
    const media = theirs.media[index];
    assert.ok(media);
    assert.equal(section.mid, String(media.mid));
    assert.equal(section.media, media.type);
    if (section.kind !== 'application') {
      assert.equal(section.direction, media.direction ?? 'sendrecv');
    }
    assert.deepEqual(
      section.extensions.map(({ id, uri }) => ({ value: id, uri })),
      (media.ext ?? []).map(({ value, uri }) => ({ value, uri })),
    );
    assert.deepEqual(
      section.codecs.map(({ payloadType, name, clockRate }) => ({
        payload: payloadType,
        codec: name,
        rate: clockRate,
      })),
      orderByFormats(
        String(media.payloads ?? ''),
        media.rtp.map(({ payload, codec, rate }) => ({ payload, codec, rate })),
      ),
    );
    assert.equal(section.ice?.usernameFragment ?? 'undefined', String(media.iceUfrag ?? theirs.iceUfrag));
    assert.equal(section.setup, media.setup ?? theirs.setup);
    assert.equal(section.fingerprints[0]?.value, (media.fingerprint ?? theirs.fingerprint)?.hash.toUpperCase());
    assert.deepEqual(
      section.rids.map(({ rid }) => rid),
      (media.rids ?? []).map(({ id }) => String(id)),
    );
    assert.deepEqual(
      section.ssrcGroups.map(({ ssrcs }) => ssrcs.join(' ')),
      (media.ssrcGroups ?? []).map(({ ssrcs }) => ssrcs),
    );
    assert.equal(section.sctp?.port, media.sctpPort);
  }
}

function orderByFormats<Entry extends { payload: number }>(payloads: string, entries: Entry[]): Entry[] {
  const order = payloads.split(' ').map(Number);
  return entries.toSorted((left, right) => order.indexOf(left.payload) - order.indexOf(right.payload));
}
