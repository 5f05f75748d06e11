/** The controls of the portal that the form uses, with exactly the properties that it sets. */

export type Validation = { isValid: string; message: string };

type Common = { name: string; label: string; toolTip: string; visible?: string };

export type TextBox = Common & {
  type: 'Microsoft.Common.TextBox';
  defaultValue?: string;
  placeholder?: string;
  constraints: { required: boolean | string; regex?: string; validationMessage?: string; validations?: Validation[] };
};

export type PasswordBox = Omit<Common, 'label'> & {
  type: 'Microsoft.Common.PasswordBox';
  label: { password: string };
  constraints: { required: boolean | string; regex?: string; validationMessage?: string };
  options: { hideConfirmation: true };
};

export type DropDown = Common & {
  type: 'Microsoft.Common.DropDown';
  /** The label of an allowed value. */
  defaultValue: string;
  constraints: {
    required: true;
    allowedValues: { label: string; value: string; description?: string }[];
    validations?: Validation[];
  };
};

export type Slider = Common & {
  type: 'Microsoft.Common.Slider';
  min: number;
  max: number;
  subLabel: string;
  defaultValue: number;
  showStepMarkers: false;
  constraints: { required: true };
};

export type InfoBox = {
  name: string;
  type: 'Microsoft.Common.InfoBox';
  visible?: string;
  options: { icon: 'Info' | 'Warning'; text: string; uri?: string };
};

export type ResourceScope = {
  name: string;
  type: 'Microsoft.Common.ResourceScope';
  location: { resourceTypes: string[] };
};

export type PublicAddress = {
  name: string;
  type: 'Microsoft.Network.PublicIpAddressCombo';
  label: { publicIpAddress: string };
  toolTip: { publicIpAddress: string };
  defaultValue: { publicIpAddressName: string };
  constraints: { required: { publicIpAddress: boolean } };
  options: { hideNone: boolean; hideDomainNameLabel: true; hideExisting: false };
  visible?: string;
};

export type SizeSelector = Common & {
  type: 'Microsoft.Compute.SizeSelector';
  recommendedSizes: string[];
  constraints: { excludedSizes: string[] };
  osPlatform: 'Linux';
  imageReference: { publisher: string; offer: string; sku: string };
};

export type Credentials = {
  name: string;
  type: 'Microsoft.Compute.CredentialsCombo';
  label: { authenticationType: string; password: string; confirmPassword: string; sshPublicKey: string };
  toolTip: { authenticationType: string; password: string; sshPublicKey: string };
  constraints: { required: true };
  options: { hideConfirmation: false; hidePassword: true };
  osPlatform: 'Linux';
};

export type Control =
  | TextBox
  | PasswordBox
  | DropDown
  | Slider
  | InfoBox
  | ResourceScope
  | PublicAddress
  | SizeSelector
  | Credentials;

export type Step = { name: string; label: string; elements: Control[] };

export type FormDefinition = {
  $schema: string;
  view: {
    kind: 'Form';
    properties: { title: string; isWizard: false; steps: Step[] };
    outputs: {
      kind: 'ResourceGroup';
      location: string;
      resourceGroupId: string;
      parameters: Record<string, string>;
    };
  };
};
