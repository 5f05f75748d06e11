import type { CapacityProvider } from './capacity-provider.ts';
import { notOurMachines } from './errors.ts';

/** For machines that people make: the controller watches them, says what it would do, and tidies up after lost nodes. */
export class StaticProvider implements CapacityProvider {
  look(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  add(): Promise<void> {
    return Promise.reject(notOurMachines());
  }

  delete(): Promise<void> {
    return Promise.reject(notOurMachines());
  }

  protect(): Promise<void> {
    return Promise.resolve();
  }
}
