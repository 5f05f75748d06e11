/** Every key and channel that Plenum uses in Redis. */

export type RedisKeys = ReturnType<typeof redisKeys>;

/** @param prefix tells apart several clusters that share one database. */
export function redisKeys(prefix: string) {
  return {
    /** Hash: the cluster clock, the last epoch, and whether Redis was away. */
    clock: `${prefix}:clock`,

    /** Set of node ids. */
    nodes: `${prefix}:nodes`,
    /** Hash per node: its record and its lease. */
    node: (nodeId: string) => `${prefix}:node:${nodeId}`,
    /** Set of ids of nodes with a lifecycle record. */
    nodeStates: `${prefix}:node-states`,
    /** Hash per node: its lifecycle record. */
    nodeState: (nodeId: string) => `${prefix}:node-state:${nodeId}`,

    /** Set of room names. */
    rooms: `${prefix}:rooms`,
    /** Hash per room: owner, epoch, lease, published `Room`. */
    room: (roomName: string) => `${prefix}:room:${roomName}`,
    /** Hash per room: what survives its host. */
    roomParts: (roomName: string) => `${prefix}:room-parts:${roomName}`,
    /** Set per node: names of the rooms that it owns. */
    nodeRooms: (nodeId: string) => `${prefix}:node-rooms:${nodeId}`,

    /** Hash per named lease. */
    lease: (name: string) => `${prefix}:lease:${name}`,

    /** Hash per shared record: epoch and value. */
    record: (name: string) => `${prefix}:record:${name}`,

    /** Channel: names of shared records that changed. */
    recordChanged: `${prefix}:record-changed`,
    /** Channel: ids of nodes whose record changed. */
    nodeChanged: `${prefix}:node-changed`,
    /** Channel: ids of nodes whose lifecycle record changed. */
    nodeStateChanged: `${prefix}:node-state-changed`,
    /** Channel per topic of the bus. */
    topic: (topic: string) => `${prefix}:bus:${topic}`,
  };
}
