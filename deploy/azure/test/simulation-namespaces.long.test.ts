import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { describe, it } from 'node:test';
import { findWorker } from '../../../test/kit/light/build.ts';
import { namespaceComplaint } from '../simulate/simulated-network.ts';

const skip = namespaceComplaint() || false;
const program = path.join(import.meta.dirname, '../simulate/main.ts');

describe('a simulated deployment with the network rules of its template', { skip }, () => {
  it('works under them, answers from outside on documented ports alone, and follows its load', async (context) => {
    const env = { ...process.env, MEDIASOUP_WORKER_BIN: (await findWorker()) ?? '' };
    const child = spawn(process.execPath, [program, '--scenario', 'scale', '--namespaces'], {
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    const [status] = (await once(child, 'close')) as [number | null];
    context.diagnostic(output);
    assert.equal(status, 0, output);
    assert.match(output, /from outside plenum-master-1 answers on TCP 80, 443$/m);
    assert.match(output, /from outside media-000001 answers on TCP [\d, ]*5\d{4}/);
    assert.match(output, /deleted: plenum-mediaNodeScaleSet_\d+$/m);
    assert.match(output, /nobody lost a call/);
  });
});
