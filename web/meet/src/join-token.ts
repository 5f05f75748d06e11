/** A token that came with the link, and what it says about the room and the name. */
export type LinkedToken = { token: string; room: string; name: string };

export function linkedToken(location: Location): LinkedToken | undefined {
  const token = new URLSearchParams(location.search).get('token');
  if (token === null || token === '') {
    return undefined;
  }
  const claims = decodeClaims(token);
  return { token, room: claims.video?.room ?? '', name: claims.name ?? claims.sub ?? '' };
}

type Claims = { name?: string; sub?: string; video?: { room?: string } };

function decodeClaims(token: string): Claims {
  try {
    const body = (token.split('.')[1] ?? '').replaceAll('-', '+').replaceAll('_', '/');
    const bytes = Uint8Array.from(atob(body), (character) => character.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes)) as Claims;
  } catch {
    return {};
  }
}

/** Asks the server for a token. Works where the server is configured with an open meeting page. */
export async function fetchToken(room: string, name: string): Promise<string> {
  const response = await fetch('./token', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ room, name }),
    signal: AbortSignal.timeout(10_000),
  }).catch(() => {
    throw new Error('The server cannot be reached. Please try again.');
  });
  const answer = (await response.json().catch(() => ({}))) as { token?: string; message?: string };
  if (!response.ok || answer.token === undefined) {
    throw new Error(
      answer.message ?? 'This server hands out invitation links only. Please open the link that you were sent.',
    );
  }
  return answer.token;
}
