/** The addresses that coturn may relay to, in the database that it reads every few seconds. */
import { DatabaseSync } from 'node:sqlite';

/** Of coturn's schema, what it looks for; it logs errors about tables that are missing. */
const schema = `
  CREATE TABLE IF NOT EXISTS allowed_peer_ip (realm varchar(127), ip_range varchar(256), primary key (realm, ip_range));
  CREATE TABLE IF NOT EXISTS denied_peer_ip (realm varchar(127), ip_range varchar(256), primary key (realm, ip_range));
  CREATE TABLE IF NOT EXISTS turn_secret (realm varchar(127), value varchar(256), primary key (realm, value));
  CREATE TABLE IF NOT EXISTS turn_origin_to_realm (origin varchar(127), realm varchar(127), primary key (origin));
  CREATE TABLE IF NOT EXISTS turn_realm_option (realm varchar(127), opt varchar(32), value varchar(128), primary key (realm, opt));
`;

export class TurnPeers {
  readonly #database: DatabaseSync;
  #known = '';

  constructor(file: string) {
    this.#database = new DatabaseSync(file);
    this.#database.exec(`PRAGMA busy_timeout = 1000; ${schema}`);
  }

  /** @param ranges as coturn writes them: an address, or `first-last` */
  allow(ranges: readonly string[]): void {
    const wanted = ranges.toSorted().join(' ');
    if (wanted === this.#known) {
      return;
    }
    this.#database.exec('BEGIN; DELETE FROM allowed_peer_ip');
    const insert = this.#database.prepare(`INSERT OR IGNORE INTO allowed_peer_ip (realm, ip_range) VALUES ('', ?)`);
    for (const range of ranges) {
      insert.run(range);
    }
    this.#database.exec('COMMIT');
    this.#known = wanted;
  }

  close(): void {
    this.#database.close();
  }
}
