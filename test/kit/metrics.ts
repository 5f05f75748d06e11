/** One scrape of a metrics endpoint. */
export class Scrape {
  readonly #samples: { name: string; labels: Record<string, string>; value: number }[] = [];

  static async of(port: number, host = '127.0.0.1'): Promise<Scrape> {
    const response = await fetch(`http://${host}:${port}/metrics`, { signal: AbortSignal.timeout(5_000) });
    return new Scrape(await response.text());
  }

  /** One that covers what several told. */
  static merged(scrapes: Scrape[]): Scrape {
    const merged = new Scrape('');
    for (const scrape of scrapes) merged.#samples.push(...scrape.#samples);
    return merged;
  }

  private constructor(text: string) {
    for (const line of text.split('\n')) {
      const [, name, labels = '', value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
      if (name === undefined) continue;
      const pairs = [...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, key = '', text = '']) => [key, text]);
      this.#samples.push({ name, labels: Object.fromEntries(pairs) as Record<string, string>, value: Number(value) });
    }
  }

  get names(): Set<string> {
    return new Set(this.#samples.map(({ name }) => name));
  }

  /** Sum of the samples that have all these labels; 0 when there is none. */
  sum(name: string, labels: Record<string, string> = {}): number {
    return this.#samples
      .filter((sample) => sample.name === name)
      .filter((sample) => Object.entries(labels).every(([key, value]) => sample.labels[key] === value))
      .reduce((total, { value }) => total + value, 0);
  }
}
