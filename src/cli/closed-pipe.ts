/**
 * Lets a program go on when nobody reads its output any more, where Node would throw: `plenum node list | head -1` ends
 * as usual, and a server does not drop calls because a log reader is gone.
 *
 * @param output usually `process.stdout`
 */
export function outliveReader(output: NodeJS.EventEmitter): void {
  output.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') {
      throw error;
    }
  });
}
