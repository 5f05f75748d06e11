/** A node in a process of its own, which tests can stop and kill: `node relay-peer-test-kit.ts`. Prints its port and echoes. */
import { LogRecord } from '../../test/kit/log-record.ts';
import { startRelay } from './relay-tcp-test-kit.ts';
import { echoNotes } from './relay-test-kit.ts';

const relay = await startRelay({ suffix: 'far', log: new LogRecord() });
echoNotes(relay);
process.stdout.write(`${relay.port}\n`);
