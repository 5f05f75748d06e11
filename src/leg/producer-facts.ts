import type { PublicationPlan } from '../sdp/publish.ts';
import type { ProducerFacts } from '../subscription/layers.ts';

/** Publishers do not say how many frames they send; cameras and screens rarely send more. */
const assumedMaxFps = 30;

/** What subscribers can choose of a publication. */
export function producerFacts(plan: Pick<PublicationPlan, 'rtpParameters' | 'layers'>): ProducerFacts {
  const mode = plan.rtpParameters.encodings?.[0]?.scalabilityMode ?? '';
  const temporal = /^[LS]\d+T(\d+)/.exec(mode)?.[1];
  return {
    qualities: plan.layers.map((layer) => layer.quality),
    temporalLayers: temporal === undefined ? 1 : Number(temporal),
    maxFps: assumedMaxFps,
  };
}
