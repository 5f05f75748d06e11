/** Nodes as tables for people. */
import { count } from '../placement/drain-words.ts';
import type { DrainReport, NodeReport } from '../protocol/node-report.ts';
import { formatTable, toPrintable } from './terminal.ts';

export function formatNodes(nodes: readonly NodeReport[]): string {
  const rows = nodes.map((node) => [
    node.id,
    node.roles.join(','),
    stateOf(node),
    node.load === null ? '' : `${node.load.rooms}`,
    node.load === null ? '' : `${node.load.participants}`,
    node.load === null ? '' : `${Math.round(node.load.cpu * 100)}%`,
    node.zone,
    node.machine,
    node.owner === 'node' || node.owner === '' ? '' : `${node.owner}: ${node.reason}`,
  ]);
  return formatTable([['NODE', 'ROLE', 'STATE', 'ROOMS', 'PARTICIPANTS', 'CPU', 'ZONE', 'MACHINE', 'WHY'], ...rows]);
}

export function formatNode(node: NodeReport): string {
  const rows = [
    ['node', node.id],
    ['role', node.roles.join(', ')],
    ['state', stateOf(node)],
    ['owner', node.owner],
    ['reason', node.reason],
    ['last seen', node.lastSeenSeconds === null ? 'not on the list of nodes' : `${node.lastSeenSeconds} s ago`],
    ['machine', node.machine],
    ['address', node.address],
    ['region', node.region],
    ['zone', node.zone],
    ['version', node.version],
    ...(node.load === null
      ? []
      : [['load', `${count(node.load.rooms, 'room')}, ${count(node.load.participants, 'participant')}`]]),
    ...(node.drain === null ? [] : drainRows(node.drain)),
  ];
  return formatTable(rows.filter(([, value]) => value !== ''));
}

function drainRows(drain: DrainReport): string[][] {
  const further = drain.furtherWaits === 0 ? [] : [`and ${drain.furtherWaits} more`];
  return [
    ['policy', drain.policy],
    ['deadline', deadlineOf(drain)],
    ['left', leftOf(drain)],
    ...[...drain.waitingFor, ...further].map((wait, index) => [index === 0 ? 'waits for' : '', wait]),
    ['carried out by', drain.leader === '' ? 'nobody yet' : drain.leader],
  ];
}

/** One line of progress. */
export function describeDrain(node: NodeReport): string {
  const { drain } = node;
  const [wait = ''] = drain?.waitingFor ?? [];
  const more = drain === null ? 0 : drain.waitingFor.length - 1 + drain.furtherWaits;
  const text = [
    `${node.id} ${stateOf(node)}`,
    ...(drain === null ? [] : [leftOf(drain)]),
    ...(wait === '' ? [] : [more > 0 ? `${wait} (and ${more} more)` : wait]),
  ].join('; ');
  return toPrintable(text);
}

function stateOf({ state, stateBefore, live, roles }: NodeReport): string {
  const before = stateBefore === undefined ? '' : ` (was ${stateBefore})`;
  const silent = !live && state !== 'LOST' && state !== 'GONE' && roles.length > 0 ? ', silent' : '';
  return `${state}${before}${silent}`;
}

function deadlineOf({ secondsLeft, deadlineIsHard }: DrainReport): string {
  if (secondsLeft === null) {
    return 'none';
  }
  const what = deadlineIsHard ? ', whatever still runs' : '';
  return secondsLeft >= 0 ? `in ${secondsLeft} s${what}` : `${-secondsLeft} s ago${what}`;
}

function leftOf({ rooms, participants, jobs }: DrainReport): string {
  if (rooms === null || participants === null) {
    return 'not looked at yet';
  }
  const parts = [count(rooms, 'room'), count(participants, 'participant')];
  return [...parts, ...(jobs === null || jobs === 0 ? [] : [count(jobs, 'job')])].join(', ').concat(' left');
}
