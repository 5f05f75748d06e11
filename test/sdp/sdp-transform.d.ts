/** The part of sdp-transform 3 that the tests use as an oracle; the package has no types of its own. */
declare module 'sdp-transform' {
  export type Media = {
    type: string;
    port: number;
    protocol: string;
    payloads?: string | number;
    mid?: string | number;
    direction?: string;
    setup?: string;
    iceUfrag?: string | number;
    icePwd?: string | number;
    fingerprint?: { type: string; hash: string };
    rtp: { payload: number; codec: string; rate: number; encoding?: number }[];
    fmtp: { payload: number; config: string }[];
    rtcpFb?: { payload: number | string; type: string; subtype?: string }[];
    ext?: { value: number; uri: string; direction?: string }[];
    msid?: { id: string; appdata?: string }[];
    rids?: { id: string | number; direction: string }[];
    simulcast?: { dir1: string; list1: string };
    ssrcs?: { id: number; attribute: string; value?: string }[];
    ssrcGroups?: { semantics: string; ssrcs: string }[];
    candidates?: { foundation: string; ip: string; port: number; transport: string; tcptype?: string; type: string }[];
    endOfCandidates?: string;
    sctpPort?: number;
    maxMessageSize?: number;
  };

  export type Session = {
    icelite?: string;
    setup?: string;
    iceUfrag?: string | number;
    icePwd?: string | number;
    fingerprint?: { type: string; hash: string };
    groups?: { type: string; mids: string }[];
    media: Media[];
  };

  export function parse(sdp: string): Session;
}
