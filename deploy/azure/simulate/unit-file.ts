/** The few settings of a systemd unit that a simulation goes by. */
export type UnitSettings = {
  execStart: string[];
  restarts: boolean;
  restartMs: number;
  /** Infinity when it may take as long as it likes to stop. */
  stopMs: number;
  stateFolders: string[];
};

export function readUnit(text: string): UnitSettings {
  const settings = new Map(
    text.split('\n').flatMap((line) => {
      const match = /^([A-Za-z]+)=(.*)$/.exec(line.trim());
      return match === null ? [] : [[match[1] ?? '', match[2] ?? ''] as const];
    }),
  );
  const stop = settings.get('TimeoutStopSec') ?? '90';
  return {
    execStart: (settings.get('ExecStart') ?? '').split(' '),
    restarts: settings.get('Restart') === 'always',
    restartMs: Number(settings.get('RestartSec') ?? 1) * 1_000,
    stopMs: stop === 'infinity' ? Infinity : Number(stop) * 1_000,
    stateFolders: (settings.get('StateDirectory') ?? '').split(' ').filter((name) => name !== ''),
  };
}
