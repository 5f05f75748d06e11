import type { Scenario } from '../scenario.ts';
import { audioRoom } from './audio-room.ts';
import { bigRoom } from './big-room.ts';
import { drain, failover, joinRate } from './cluster-tests.ts';
import { dataFanOut } from './data-fan-out.ts';
import { joinStorm } from './join-storm.ts';
import { loss } from './loss.ts';
import { meeting } from './meeting.ts';
import { memory } from './memory.ts';
import { signalling } from './signalling.ts';
import { smallRooms, soak } from './small-rooms.ts';
import { webinar } from './webinar.ts';

/** In the order in which a whole run takes them. */
export const allScenarios: readonly Scenario[] = [
  webinar,
  bigRoom,
  meeting,
  smallRooms,
  audioRoom,
  dataFanOut,
  joinStorm,
  signalling,
  memory,
  loss,
  soak,
  failover,
  drain,
  joinRate,
];
