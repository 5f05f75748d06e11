/** Just enough of `User-Agent` for what LiveKit clients leave out: names as the uap-core project (and so LiveKit) writes them. */

export type UserAgentFacts = {
  browser: string;
  browserVersion: string;
  os: string;
  osVersion: string;
  deviceModel: string;
};

// Order decides: every Chromium browser also says Chrome and Safari, and everything on iOS also says Safari.
const browsers: readonly (readonly [string, RegExp])[] = [
  ['Edge', /\bEdg(?:e|A|iOS)?\/([\d.]+)/],
  ['Opera', /\bOPR\/([\d.]+)/],
  ['Samsung Internet', /\bSamsungBrowser\/([\d.]+)/],
  ['Firefox iOS', /\bFxiOS\/([\d.]+)/],
  ['Firefox Mobile', /\b(?:Mobile|Tablet);.*\bFirefox\/([\d.]+)/],
  ['Firefox', /\bFirefox\/([\d.]+)/],
  ['Chrome Mobile iOS', /\bCriOS\/([\d.]+)/],
  ['HeadlessChrome', /\bHeadlessChrome\/([\d.]+)/],
  ['Chrome Mobile', /\bChrome\/([\d.]+) Mobile\b/],
  ['Chrome', /\bChrom(?:e|ium)\/([\d.]+)/],
  ['Mobile Safari', /\bVersion\/([\d.]+).*\bMobile\/.*\bSafari\//],
  ['Safari', /\bVersion\/([\d.]+).*\bSafari\//],
];

const systems: readonly (readonly [string, RegExp])[] = [
  ['iOS', /\b(?:iPhone|iPad|iPod)\b.*? OS ([\d_]+)/],
  ['Android', /\bAndroid ?([\d.]*)/],
  ['Windows', /\bWindows NT ?([\d.]*)/],
  ['Mac OS X', /\bMac OS X ?([\d_.]*)/],
  ['Chrome OS', /\bCrOS \S+ ([\d.]+)/],
  ['Linux', /\bLinux\b()/],
];

/** Longer ones are cut before any pattern runs, so that a hostile header cannot buy matching time. */
const maxLength = 512;

/** Never throws; what is not recognised stays empty. */
export function parseUserAgent(userAgent: string): UserAgentFacts {
  const text = userAgent.slice(0, maxLength);
  const [browser, browserVersion] = firstMatch(browsers, text);
  const [os, osVersion] = firstMatch(systems, text);
  return { browser, browserVersion, os, osVersion: osVersion.replaceAll('_', '.'), deviceModel: deviceModel(text) };
}

function firstMatch(table: readonly (readonly [string, RegExp])[], text: string): [string, string] {
  for (const [name, pattern] of table) {
    const match = pattern.exec(text);
    if (match !== null) {
      return [name, match[1] ?? ''];
    }
  }
  return ['', ''];
}

function deviceModel(text: string): string {
  const apple = /\b(?:iPhone|iPad|iPod|Macintosh)\b/.exec(text);
  if (apple !== null) {
    return apple[0] === 'Macintosh' ? 'Mac' : apple[0];
  }
  // `Linux; Android 14; Pixel 8 Build/…`; browsers that hide the model say `K`.
  return /\bAndroid [\d.]+; ([^;)]+?)(?: Build\/[^;)]*)?[;)]/.exec(text)?.[1] ?? '';
}
