import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
// oxlint-disable-next-line no-restricted-imports -- this test asks the real worker
import * as mediasoup from 'mediasoup';
import * as sdpTransform from 'sdp-transform';
import { answerGolden, localTransport, allMimes } from '../../test/sdp/expected.ts';
import { goldenOffers } from '../../test/sdp/golden.ts';
import {
  consumerCapabilities,
  dependencyDescriptorUri,
  midUri,
  routerCodecs,
  sendTimeUri,
  transportCcUri,
  workerExtensionIds,
} from './capabilities.ts';
import { type SubscriberSlot, formatSubscriberOffer } from './offer.ts';
import type { RtpCapabilities, RtpParameters } from './rtp.ts';

describe('plans and offers against the media worker', () => {
  let worker: mediasoup.types.Worker;
  let router: mediasoup.types.Router;

  before(async () => {
    worker = await mediasoup.createWorker();
    router = await worker.createRouter({
      mediaCodecs: routerCodecs(allMimes) as mediasoup.types.RouterRtpCodecCapability[],
    });
  });
  after(() => worker.close());

  const createTransport = (): Promise<mediasoup.types.WebRtcTransport> =>
    router.createWebRtcTransport({ listenInfos: [{ protocol: 'udp', ip: '127.0.0.1' }] });

  it('knows the extension ids that the worker has compiled in', () => {
    const idOf = (uri: string): number | undefined =>
      router.rtpCapabilities.headerExtensions?.find((each) => each.kind === 'video' && each.uri === uri)?.preferredId;
    assert.deepEqual(workerExtensionIds, {
      mid: idOf(midUri),
      sendTime: idOf(sendTimeUri),
      transportCc: idOf(transportCcUri),
      dependencyDescriptor: idOf(dependencyDescriptorUri),
    });
  });

  it('has no codec on the payload type of the probator', () => {
    assert.ok(router.rtpCapabilities.codecs?.every(({ preferredPayloadType }) => preferredPayloadType !== 127));
  });

  for (const golden of goldenOffers()) {
    it(`produces and consumes what ${golden.name} offers`, async () => {
      const [publisher, subscriber] = [await createTransport(), await createTransport()];
      const slots: SubscriberSlot[] = [];
      for (const { plan, mid } of answerGolden(golden).publications) {
        assert.ok(plan.kind === 'plan');
        const kind = plan.accepted.kind;
        const rtpParameters = plan.rtpParameters as mediasoup.types.RtpParameters;
        const producer = await publisher.produce({ kind, rtpParameters });
        assert.equal(producer.type, expectedType(plan.mimeType, plan.rtpParameters.encodings?.length ?? 0));
        for (const bandwidthEstimation of [true, false]) {
          const rtpCapabilities = consumerCapabilities(router.rtpCapabilities as RtpCapabilities, {
            bandwidthEstimation,
          });
          const consumer = await subscriber.consume({
            producerId: producer.id,
            rtpCapabilities: rtpCapabilities as mediasoup.types.RtpCapabilities,
            enableRtx: true,
            paused: true,
            mid: String(slots.length + 1),
          });
          const usesTransportCc = consumer.rtpParameters.headerExtensions?.some(({ uri }) => uri === transportCcUri);
          assert.equal(usesTransportCc, bandwidthEstimation && kind === 'video');
          slots.push({
            mid: consumer.rtpParameters.mid ?? '',
            kind,
            rtpParameters: consumer.rtpParameters as RtpParameters,
            track: { streamId: 'PA_x|camera', trackId: `TR_${mid}` },
          });
        }
      }
      checkOffer(slots);
      publisher.close();
      subscriber.close();
    });
  }
});

/** Several streams are simulcast, one of VP9 or AV1 is SVC, and one of another codec is forwarded as it is. */
function expectedType(mimeType: string, encodings: number): mediasoup.types.ProducerType {
  if (encodings > 1) {
    return 'simulcast';
  }
  return mimeType === 'video/VP9' || mimeType === 'video/AV1' ? 'svc' : 'simple';
}

function checkOffer(slots: SubscriberSlot[]): void {
  const sdp = formatSubscriberOffer({
    transport: localTransport,
    sessionId: '1',
    version: 1,
    data: true,
    probator: true,
    slots,
  });
  const parsed = sdpTransform.parse(sdp);
  assert.equal(parsed.media.length, slots.length + 2);
  for (const [index, slot] of slots.entries()) {
    const media = parsed.media[index + 2];
    const [codec] = slot.rtpParameters.codecs;
    const [encoding] = slot.rtpParameters.encodings ?? [];
    assert.equal(media?.direction, 'sendonly');
    assert.equal(String(media?.mid), slot.mid);
    assert.equal(media?.rtp[0]?.payload, codec?.payloadType);
    assert.equal(`${slot.kind}/${media?.rtp[0]?.codec}`, codec?.mimeType);
    assert.equal(media?.ssrcs?.[0]?.id, encoding?.ssrc);
    assert.deepEqual(
      media?.fmtp.filter(({ config }) => config.includes('x-google')),
      [],
    );
    if (slot.kind === 'audio') {
      assert.ok(
        media?.rtcpFb?.some(({ type }) => type === 'nack'),
        'opus keeps nack',
      );
    }
  }
}
