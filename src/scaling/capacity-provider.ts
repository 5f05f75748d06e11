import type { Observation } from '../capacity/observation.ts';

/**
 * Where media nodes' machines come from. All calls may be repeated; a call that fails may have taken effect, and the next
 * look tells. They reject with code `unavailable` and reason `provider-busy` when it is to be asked later.
 */
export interface CapacityProvider {
  /** Undefined when machines are made by somebody else. */
  look(signal: AbortSignal): Promise<Observation['machines']>;
  /** Asks for more machines. Resolves when the provider has accepted that, which is long before they run. */
  add(count: number, signal: AbortSignal): Promise<void>;
  /** Deletes one machine; one that is gone already counts as deleted. Resolves when the provider has accepted it. */
  delete(instanceId: string, signal: AbortSignal): Promise<void>;
  /** Keeps the provider from choosing this machine when somebody shrinks the set by hand. */
  protect(instanceId: string, signal: AbortSignal): Promise<void>;
}
