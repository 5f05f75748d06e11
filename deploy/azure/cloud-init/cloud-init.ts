/** First boot of a node: a few files and one service. Everything else is `plenum node init`, which is in the release. */
import { readFileSync } from 'node:fs';
import { call, concat, type ArmJson, type Expr } from '../template/expression.ts';
import { given } from '../template/parameters.ts';

/** @param settings what `plenum node init` reads; no secret may be in it, every process of the node can read it */
export function userData(settings: Record<string, ArmJson>): Expr<string> {
  const files = [
    file('/usr/local/sbin/plenum-bootstrap', '0755', source('plenum-bootstrap.sh')),
    file('/etc/systemd/system/plenum-bootstrap.service', '0644', source('plenum-bootstrap.service')),
    file('/etc/plenum/deployment.json', '0644', call('string', settings)),
    file(
      '/etc/plenum/release.env',
      '0644',
      concat('RELEASE_URL=', quoted(given('releaseUrl')), '\nRELEASE_SHA256=', given('releaseSha256'), '\n'),
    ),
  ];
  const document = {
    write_files: files,
    runcmd: [
      ['systemctl', 'daemon-reload'],
      ['systemctl', 'enable', '--now', '--no-block', 'plenum-bootstrap.service'],
    ],
  };
  // JSON is YAML, so no text of a parameter can change the structure.
  return call('base64', concat('#cloud-config\n', call('string', document)));
}

function file(path: string, permissions: string, content: ArmJson): Record<string, ArmJson> {
  return { path, permissions, owner: 'root:root', content };
}

/** For a shell that reads the line: the URL may have `&` in it. */
function quoted(text: Expr<string>): Expr<string> {
  return concat("'", call('replace', text, "'", ''), "'");
}

function source(name: string): string {
  return readFileSync(new URL(name, import.meta.url), 'utf8');
}
