/** Deliberate mistakes that the simulation can be told to make, to prove that it would notice them. */
export type Mutant =
  /** Receivers listen to whoever speaks, and a host that is shown a higher epoch goes on. */
  | 'skips-epoch-checks'
  /** A host never asks whether it may speak. */
  | 'always-speaks'
  /** A room is taken over as soon as its gateways hear nothing, whatever the lease says. */
  | 'takes-over-live-leases'
  /** A room is taken over without asking the other masters. */
  | 'asks-no-master'
  /** Masters go on affirming hosts that they have called unreachable. */
  | 'affirms-disowned-hosts'
  /** A pong counts from when it was received. */
  | 'counts-stale-pongs'
  /** A new host speaks at the epoch of the old one. */
  | 'reuses-epochs'
  /** A host speaks before it has renewed the lease it was told of. */
  | 'speaks-before-renewal'
  /** Draining nodes are given new work, and take it. */
  | 'places-on-draining'
  /** The drain is over when the hosts are gone. */
  | 'forgets-legs-when-drained'
  /** Clients that do not come up on the target are waited for. */
  | 'never-falls-back'
  /** Undrain forgets what was prepared elsewhere. */
  | 'leaves-preparations'
  /** Hosts do not state again what Redis has lost. */
  | 'never-restates'
  /** Only the first leader drains; nobody takes over from it. */
  | 'one-leader-only';

export type Rules = { mutant: Mutant | undefined };

export function breaks(rules: Rules, mutant: Mutant): boolean {
  return rules.mutant === mutant;
}
