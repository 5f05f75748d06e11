/**
 * The built meeting page, read into memory once: it is small, and answering from memory leaves no file open for a client
 * that stops reading, which is what libraries that stream from disk do.
 */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { extname, join, relative, sep } from 'node:path';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';

type StaticFile = {
  contentType: string;
  cacheControl: string;
  etag: string;
  body: Buffer;
  gzipped: Buffer | undefined;
};

const contentTypes: ReadonlyMap<string, string> = new Map([
  ['.html', 'text/html; charset=utf-8'],
  ['.js', 'text/javascript; charset=utf-8'],
  ['.mjs', 'text/javascript; charset=utf-8'],
  ['.css', 'text/css; charset=utf-8'],
  ['.json', 'application/json'],
  ['.webmanifest', 'application/manifest+json'],
  ['.map', 'application/json'],
  ['.svg', 'image/svg+xml'],
  ['.txt', 'text/plain; charset=utf-8'],
  ['.wasm', 'application/wasm'],
  ['.png', 'image/png'],
  ['.jpg', 'image/jpeg'],
  ['.webp', 'image/webp'],
  ['.ico', 'image/x-icon'],
  ['.woff2', 'font/woff2'],
  ['.mp3', 'audio/mpeg'],
]);

const compressible = /^(?:text\/|application\/(?:json|manifest|wasm)|image\/svg)/;

/** A folder by mistake (a home directory, say) must not fill the memory. */
const maxTotalBytes = 64 * 1024 * 1024;

export class StaticFiles {
  readonly #files: ReadonlyMap<string, StaticFile>;

  private constructor(files: ReadonlyMap<string, StaticFile>) {
    this.#files = files;
  }

  /** Reads the folder. Rejects when it is not there, has no `index.html` or holds more than 64 MB. */
  static async load(directory: string): Promise<StaticFiles> {
    const files = new Map<string, StaticFile>();
    let totalBytes = 0;
    for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
      if (entry.isFile()) {
        const path = join(entry.parentPath, entry.name);
        const body = await readFile(path);
        totalBytes += body.length;
        if (totalBytes > maxTotalBytes) {
          throw new Error(`${directory} holds more than ${maxTotalBytes} bytes`);
        }
        files.set(relative(directory, path).split(sep).join('/'), await toStaticFile(entry.name, path, body));
      }
    }
    if (!files.has('index.html')) {
      throw new Error(`${directory} has no index.html`);
    }
    return new StaticFiles(files);
  }

  /** Answers with the file of this name (relative, without leading slash); false when there is none. */
  answer(name: string, request: IncomingMessage, response: ServerResponse): boolean {
    const file = this.#files.get(name === '' ? 'index.html' : name);
    if (file === undefined) {
      return false;
    }
    const body = acceptsGzip(request) ? (file.gzipped ?? file.body) : file.body;
    const headers = {
      'Content-Type': file.contentType,
      'Cache-Control': file.cacheControl,
      ETag: file.etag,
      Vary: 'Accept-Encoding',
      'X-Content-Type-Options': 'nosniff',
    };
    if (request.headers['if-none-match'] === file.etag) {
      response.writeHead(304, headers).end();
      return true;
    }
    const encoding = body === file.body ? {} : { 'Content-Encoding': 'gzip' };
    response.writeHead(200, { ...headers, ...encoding, 'Content-Length': body.length });
    response.end(request.method === 'HEAD' ? undefined : body);
    return true;
  }
}

async function toStaticFile(name: string, path: string, body: Buffer): Promise<StaticFile> {
  const contentType = contentTypes.get(extname(name)) ?? 'application/octet-stream';
  // Vite puts a content hash into the names below `assets`; such a file never changes.
  const immutable = path.split(sep).includes('assets');
  return {
    contentType,
    cacheControl: immutable ? 'public, max-age=31536000, immutable' : 'no-cache',
    etag: `W/"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`,
    body,
    gzipped: compressible.test(contentType) && body.length > 1024 ? await promisify(gzip)(body) : undefined,
  };
}

function acceptsGzip(request: IncomingMessage): boolean {
  return /\bgzip\b/.test(String(request.headers['accept-encoding'] ?? ''));
}
