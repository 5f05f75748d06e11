/** What `./plenum` gives to the Node process of a server. */
export const serverFlags = ['--max-semi-space-size=2'] as const;
