/** Names, addresses and checks that several resources share. */
import {
  and,
  call,
  concat,
  either,
  equals,
  isEmpty,
  item,
  member,
  not,
  nothing,
  or,
  variable,
  type Arm,
  type ArmJson,
  type Expr,
} from './expression.ts';
import { given, type ParameterName } from './parameters.ts';

export const masterCount = 4;
export const masterAddresses = ['10.0.1.4', '10.0.1.5', '10.0.1.6', '10.0.1.7'] as const;

/** The whole of 10.0.2.0/24 is free for what operators add. */
export const addresses = {
  network: '10.0.0.0/16',
  media: '10.0.0.0/24',
  masters: '10.0.1.0/24',
  bastion: '10.0.3.0/26',
} as const;

export const location = given('location');
export const stack = given('stackName');
export const named = (suffix: string): Expr<string> => concat(stack, `-${suffix}`);

const zones = variable<string[]>('zones');
export const hasZones = not(isEmpty(zones));

/** Spreads a loop over the zones of the region. */
export function zoneOfIndex(index: Expr<number>): Expr<string[] | null> {
  const at = call<number>('mod', index, call<number>('max', 1, call('length', zones)));
  return either<string[] | null>(hasZones, call<string[]>('createArray', item(zones, at)), nothing());
}

export const zonesOrNone = either<string[] | null>(hasZones, zones, nothing());

type AddressChoice = { name: string; resourceGroup: string; newOrExistingOrNone: string };

function choice(name: ParameterName): Expr<AddressChoice> {
  return given<AddressChoice>(name);
}

/** Parameter files may leave out what the portal fills in. */
function chosen(name: ParameterName, property: keyof AddressChoice): Expr<string> {
  return call('coalesce', call('tryGet', choice(name), property), '');
}

export const isExistingAddress = equals(chosen('publicIpAddressObject', 'newOrExistingOrNone'), 'existing');
const turnChoice = chosen('turnPublicIpAddressObject', 'newOrExistingOrNone');
export const isExistingTurnAddress = equals(turnChoice, 'existing');
/** OpenVidu 3.2.0 knows the TURN address by its name alone. */
export const hasTurnAddress = and(
  not(isEmpty(given('turnDomainName'))),
  or(isExistingTurnAddress, equals(turnChoice, 'new'), not(isEmpty(chosen('turnPublicIpAddressObject', 'name')))),
);
export const wantsNewTurnAddress = and(hasTurnAddress, not(isExistingTurnAddress));

function addressName(parameter: ParameterName, fallback: string): Expr<string> {
  const name = chosen(parameter, 'name');
  return either<string>(isEmpty(name), named(fallback), name);
}

function existingAddressId(parameter: ParameterName): Expr<string> {
  const group = chosen(parameter, 'resourceGroup');
  const groupName = member<string>(call('resourceGroup'), 'name');
  return call(
    'resourceId',
    either<string>(isEmpty(group), groupName, group),
    'Microsoft.Network/publicIPAddresses',
    chosen(parameter, 'name'),
  );
}

export const publicAddressName = addressName('publicIpAddressObject', 'publicIP');
export const turnAddressName = addressName('turnPublicIpAddressObject', 'turnPublicIP');
export const existingPublicAddressId = existingAddressId('publicIpAddressObject');
export const existingTurnAddressId = existingAddressId('turnPublicIpAddressObject');

export const isNewStorage = isEmpty(given('storageAccountName'));
export const storageAccount = variable<string>('storageAccountName');
export const container = variable<string>('containerName');
export const stateContainer = 'plenum-state';

const certificateIs = (type: string): Expr<boolean> => equals(given('certificateType'), type);
const missing = (name: ParameterName): Expr<boolean> => isEmpty(given(name));

/** What makes a size an ARM one: the letter p among the features of its name. */
const armMarks = ['pms_v', 'ps_v', 'pds_v', 'pls_v', 'plds_v', 'pts_v'];

function isArmSize(name: ParameterName): Expr<boolean> {
  return or(...armMarks.map((mark) => call<boolean>('contains', call('toLower', given(name)), mark)));
}

/** Everything that is wrong with the parameters, each as a condition and what to do. */
const problems: readonly (readonly [Expr<boolean>, string])[] = [
  [equals(given('rtcEngine'), 'pion'), 'rtcEngine: pion is not available; choose mediasoup'],
  [and(certificateIs('owncert'), missing('domainName')), 'domainName: owncert needs a domain name'],
  [
    and(certificateIs('owncert'), or(missing('ownPublicCertificate'), missing('ownPrivateCertificate'))),
    'ownPublicCertificate, ownPrivateCertificate: owncert needs both',
  ],
  [
    and(
      certificateIs('owncert'),
      not(missing('turnDomainName')),
      or(missing('turnOwnPublicCertificate'), missing('turnOwnPrivateCertificate')),
    ),
    'turnOwnPublicCertificate, turnOwnPrivateCertificate: owncert with a TURN domain needs both',
  ],
  [
    and(certificateIs('letsencrypt'), not(missing('domainName')), missing('letsEncryptEmail')),
    'letsEncryptEmail: letsencrypt with a domain needs an e-mail address',
  ],
  [
    and(missing('turnDomainName'), equals(turnChoice, 'existing')),
    'turnDomainName: a TURN address needs a TURN domain',
  ],
  [
    call('greater', given<number>('minNumberOfMediaNodes'), given<number>('initialNumberOfMediaNodes')),
    'initialNumberOfMediaNodes: must not be below minNumberOfMediaNodes',
  ],
  [
    call('greater', given<number>('initialNumberOfMediaNodes'), given<number>('maxNumberOfMediaNodes')),
    'initialNumberOfMediaNodes: must not be above maxNumberOfMediaNodes',
  ],
  [isArmSize('masterNodeInstanceType'), 'masterNodeInstanceType: there is no release for ARM processors'],
  [isArmSize('mediaNodeInstanceType'), 'mediaNodeInstanceType: there is no release for ARM processors'],
  [
    not(call<boolean>('startsWith', given('releaseUrl'), 'https://')),
    'releaseUrl: must be an https URL; ./plenum release makes a template that has it filled in',
  ],
  [not(equals(call('length', given('releaseSha256')), 64)), 'releaseSha256: must be 64 hex digits'],
];

/** `ok`, or a failed deployment that names every problem at once. */
function checks(): Expr<string> {
  const said = problems.map(([isWrong, message]) => either<string[]>(isWrong, [message], []));
  const all = call<string[]>('flatten', said as ArmJson);
  return either<string>(isEmpty(all), 'ok', call<string>('fail', call('join', all, '; ')));
}

export function templateVariables(): Record<string, ArmJson> {
  const flatStack = call<string>('toLower', call('replace', stack, '-', ''));
  const unique = call<string>('uniqueString', member(call('resourceGroup'), 'id'), stack);
  const first = (...names: ParameterName[]): Arm<string> =>
    names.reduceRight<Arm<string>>(
      (other, name) => either<string>(isEmpty(given(name)), other, given(name)),
      'openvidu-appdata',
    );
  return {
    checks: checks(),
    zones: call('pickZones', 'Microsoft.Compute', 'virtualMachines', location, 3),
    storageAccountName: either(
      isNewStorage,
      concat(call<string>('take', flatStack, 11), unique),
      given('storageAccountName'),
    ),
    containerName: first('containerName', 'appDataContainerName'),
    domainLabel: call('toLower', concat(stack, '-', unique)),
  };
}

export const domainLabel = variable<string>('domainLabel');
export const checked = variable<string>('checks');
