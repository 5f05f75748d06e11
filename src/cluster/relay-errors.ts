import { PlenumError } from '../lib/errors.ts';

export function badMessage(detail: string, cause?: unknown): PlenumError {
  return new PlenumError({
    code: 'invalid_argument',
    reason: 'relay-bad-message',
    message: `bad message from a node: ${detail}`,
    logLevel: 'warn',
    cause,
  });
}

export function badFrame(detail: string): PlenumError {
  return new PlenumError({
    code: 'invalid_argument',
    reason: 'relay-bad-frame',
    message: `bad frame from a node: ${detail}`,
    logLevel: 'warn',
  });
}

export function unreachable(where: string, detail: string, cause?: unknown): PlenumError {
  return new PlenumError({
    code: 'unavailable',
    reason: 'relay-unreachable',
    message: `node ${where} cannot be reached: ${detail}`,
    cause,
  });
}

/** Another node listens where the one that we mean did: that one has ended. */
export function otherNode(where: string, detail: string): PlenumError {
  return new PlenumError({
    code: 'unavailable',
    reason: 'relay-other-node',
    message: `node ${where} has ended: ${detail}`,
  });
}

/** The peer was reached, and said that it cannot work with us. */
export function refused(where: string, detail: string): PlenumError {
  return new PlenumError({
    code: 'failed_precondition',
    reason: 'relay-refused',
    message: `node ${where} refused: ${detail}`,
    logLevel: 'warn',
  });
}

export function wrongSecret(where: string, cause: unknown): PlenumError {
  return new PlenumError({
    code: 'permission_denied',
    reason: 'relay-wrong-secret',
    message: `${where} has another cluster secret: \`cluster.secret\` must be the same on all nodes`,
    logLevel: 'error',
    cause,
  });
}

export function wrongCluster(where: string, cause: unknown): PlenumError {
  return new PlenumError({
    code: 'permission_denied',
    reason: 'relay-wrong-cluster',
    message: `${where} belongs to a cluster of another name: \`cluster.name\` must be the same on all nodes`,
    logLevel: 'error',
    cause,
  });
}

export function relayClosed(): PlenumError {
  return new PlenumError({
    code: 'unavailable',
    reason: 'relay-closed',
    message: 'this node is shutting down',
    logLevel: 'debug',
  });
}

export function cannotListen(where: string, cause: unknown): PlenumError {
  const detail = cause instanceof Error ? cause.message : String(cause);
  return new PlenumError({
    code: 'unavailable',
    reason: 'relay-cannot-listen',
    message: `cannot listen on ${where} for other nodes: ${detail}`,
    logLevel: 'error',
    cause,
  });
}

export function weakSecret(minLength: number): PlenumError {
  return new PlenumError({
    code: 'invalid_argument',
    reason: 'bad-config',
    message: `\`cluster.secret\` needs at least ${minLength} characters; make one with: openssl rand -hex 32`,
    logLevel: 'error',
  });
}

export function unreadableSecret(path: string, cause: unknown): PlenumError {
  const detail = cause instanceof Error ? cause.message : String(cause);
  return new PlenumError({
    code: 'invalid_argument',
    reason: 'bad-config',
    message: `\`cluster.secret_file\` ${path} cannot be read: ${detail}`,
    logLevel: 'error',
    cause,
  });
}
