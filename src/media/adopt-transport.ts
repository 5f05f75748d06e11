import type { types } from 'mediasoup';
import { mediaClosed } from './errors.ts';

/**
 * For each transport that the engine makes: what it makes in a router, or on a transport, that was closed while the
 * answer of the worker was on its way, is never told so. It would listen to the worker, and keep all that it belongs to
 * in memory, for as long as the worker lives. Such things are closed here; whoever waits for them finds them closed.
 * @throws PlenumError when the router is closed by now
 */
export function adoptTransport(router: types.Router, transport: types.Transport): void {
  if (router.closed) {
    transport.close();
    throw mediaClosed('the router');
  }
  const { observer } = transport;
  const closeLate = (child: { close(): void }): void => {
    if (transport.closed) {
      child.close();
    }
  };
  observer.on('newproducer', closeLate);
  observer.on('newconsumer', closeLate);
  observer.on('newdataproducer', closeLate);
  observer.on('newdataconsumer', closeLate);
}
