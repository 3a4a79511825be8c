# unbrick, acceptance on a real Windows: puts a harmless copy of the fault of 19 July 2024 on a throw-away
# virtual machine, and compares what is there after the repair and after the undo with what was there before.
#
#   powershell -ExecutionPolicy Bypass -File acceptance.ps1 -Step put
#   powershell -ExecutionPolicy Bypass -File acceptance.ps1 -Step repaired
#   powershell -ExecutionPolicy Bypass -File acceptance.ps1 -Step undone
#   powershell -ExecutionPolicy Bypass -File acceptance.ps1 -Step remove
#
# As administrator, in the Windows PowerShell 5.1 that every Windows 10, 11 and Server has. The file it puts is
# data: no driver is installed, no service is made, the registry is not touched. Plain ASCII on purpose.
#Requires -Version 5.1
[CmdletBinding()]
param(
    [Parameter(Mandatory = $true)]
    [ValidateSet('put', 'repaired', 'undone', 'remove')]
    [string]$Step,
    [switch]$NotAVirtualMachine
)
$ErrorActionPreference = 'Stop'

$System = $env:SystemDrive
$Drivers = Join-Path $env:SystemRoot 'System32\drivers'
$Folder = Join-Path $Drivers 'CrowdStrike'
$Faulty = Join-Path $Folder 'C-00000291-00000000-00000032.sys'
$Neighbour = Join-Path $Folder 'C-00000290-00000000-00000001.sys'
$Records = Join-Path $System '\unbrick-acceptance'
$Before = Join-Path $Records 'before.json'

function Stop-Here([string]$Why) {
    Write-Host "REFUSED: $Why" -ForegroundColor Red
    exit 2
}

function Test-Administrator {
    $who = New-Object Security.Principal.WindowsPrincipal ([Security.Principal.WindowsIdentity]::GetCurrent())
    return $who.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)
}

function Test-VirtualMachine {
    $computer = Get-CimInstance Win32_ComputerSystem
    $said = "$($computer.Manufacturer) $($computer.Model)"
    return $said -match 'Virtual|VMware|QEMU|KVM|Xen|HVM domU|Bochs|Parallels|OpenStack|Google Compute Engine'
}

function Test-CrowdStrike {
    $services = @(Get-Service -Name 'CSAgent', 'CSFalconService' -ErrorAction SilentlyContinue)
    $driver = Join-Path $Folder 'csagent.sys'
    $program = Join-Path $env:ProgramFiles 'CrowdStrike'
    return ($services.Count -gt 0) -or (Test-Path $driver) -or (Test-Path $program)
}

function Get-Digest([string]$Path) {
    try {
        return (Get-FileHash -LiteralPath $Path -Algorithm SHA256).Hash
    } catch {
        return 'cannot be read'
    }
}

# What must come back as it was, as text: one line of the table for each.
function Get-State([string]$Path) {
    $state = @{}
    if (-not (Test-Path -LiteralPath $Path)) {
        $state['is there'] = 'no'
        return $state
    }
    $item = Get-Item -LiteralPath $Path -Force
    $state['is there'] = 'yes'
    $state['permissions'] = (Get-Acl -LiteralPath $Path).Sddl
    $state['attributes'] = [string]$item.Attributes
    if ($item.PSIsContainer) {
        return $state
    }
    $state['bytes'] = [string]$item.Length
    $state['SHA-256'] = Get-Digest $Path
    $state['created'] = $item.CreationTimeUtc.ToString('yyyy-MM-dd HH:mm:ss.fffffff')
    $state['written'] = $item.LastWriteTimeUtc.ToString('yyyy-MM-dd HH:mm:ss.fffffff')
    $state['short name'] = (New-Object -ComObject Scripting.FileSystemObject).GetFile($Path).ShortName
    $streams = @()
    foreach ($stream in @(Get-Item -LiteralPath $Path -Force -Stream * | Sort-Object Stream)) {
        if ($stream.Stream -ne ':$DATA') {
            $text = Get-Content -LiteralPath $Path -Stream $stream.Stream -Raw
            $streams += "$($stream.Stream)=$text".Trim()
        }
    }
    $state['streams'] = $streams -join '; '
    return $state
}

# Every file directly in the folder of drivers: nothing there may change. Windows itself may, by an update.
function Get-Neighbours {
    $found = @{}
    foreach ($file in @(Get-ChildItem -LiteralPath $Drivers -File -Force)) {
        $found[$file.Name] = "$(Get-Digest $file.FullName) $((Get-Acl -LiteralPath $file.FullName).Sddl)"
    }
    return $found
}

function Get-BitLocker {
    try {
        $volume = Get-BitLockerVolume -MountPoint $System
        $protectors = @($volume.KeyProtector | ForEach-Object { $_.KeyProtectorType }) -join ' + '
        return "$($volume.VolumeStatus), protection $($volume.ProtectionStatus), $protectors"
    } catch {
        return 'not known: Get-BitLockerVolume is missing or failed'
    }
}

function Get-LastEvent {
    return [long](Get-WinEvent -LogName System -MaxEvents 1).RecordId
}

function Get-Record {
    return @{
        taken = (Get-Date).ToUniversalTime().ToString('yyyy-MM-dd HH:mm:ss.fffffff')
        windows = [string](Get-CimInstance Win32_OperatingSystem).Caption + ' ' + [Environment]::OSVersion.Version
        bitlocker = Get-BitLocker
        event = Get-LastEvent
        faulty = Get-State $Faulty
        neighbour = Get-State $Neighbour
        folder = Get-State $Folder
        drivers = Get-State $Drivers
        files = Get-Neighbours
    }
}

function New-ChannelFile([string]$Path, [byte]$Seed, [DateTime]$Written) {
    $bytes = New-Object byte[] 40960
    for ($index = 0; $index -lt $bytes.Length; $index++) {
        $bytes[$index] = [byte](($index * 31 + $Seed) % 251)
    }
    [byte[]]$header = 0xAA, 0xAA, 0xAA, 0xAA, 0x01, 0x00, 0x23, 0x01
    [Array]::Copy($header, $bytes, $header.Length)
    [IO.File]::WriteAllBytes($Path, $bytes)
    # What a plain copy would lose: a second stream, and a permission that is not inherited.
    Set-Content -LiteralPath $Path -Stream 'acceptance' -Value "seed $Seed"
    $null = icacls.exe $Path /grant '*S-1-5-32-545:(RX)'
    if ($LASTEXITCODE -ne 0) {
        throw "icacls failed on $Path"
    }
    [IO.File]::SetCreationTimeUtc($Path, $Written)
    [IO.File]::SetLastWriteTimeUtc($Path, $Written)
}

function Add-Row([string]$What, [string]$Was, [string]$Now, [bool]$Good) {
    $answer = 'DIFFERENT'
    if ($Good) {
        $answer = 'good'
    }
    $script:Rows += New-Object PSObject -Property @{ Answer = $answer; What = $What; Before = $Was; Now = $Now }
}

function Add-Comparison([string]$Name, $Was, $Now) {
    foreach ($key in @($Was.PSObject.Properties.Name | Sort-Object)) {
        $then = [string]$Was.$key
        $today = [string]$Now[$key]
        Add-Row "$Name, $key" $then $today ($then -ceq $today)
    }
}

function Add-Files($Was, $Now) {
    $names = @($Was.PSObject.Properties.Name) + @($Now.Keys) | Sort-Object -Unique
    $different = 0
    foreach ($name in $names) {
        $then = [string]$Was.$name
        $today = [string]$Now[$name]
        if ($then -cne $today) {
            $different++
            Add-Row "drivers\$name" $then $today $false
        }
    }
    Add-Row 'files in drivers that changed' "$(@($names).Count) files" "$different changed" ($different -eq 0)
}

# After a repair the file lies in \Unbrick\<run>, byte for byte; after an undo it is in its place again.
function Add-Quarantine($Was) {
    $copies = @()
    foreach ($quarantine in @(Get-ChildItem -Path "$System\" -Directory -Force -Filter 'Unbrick*')) {
        if ($quarantine.FullName -ne $Records) {
            $inside = Get-ChildItem -LiteralPath $quarantine.FullName -Recurse -File -Force -ErrorAction SilentlyContinue
            foreach ($file in @($inside)) {
                if ((Get-Digest $file.FullName) -eq $Was.faulty.'SHA-256') {
                    $copies += $file.FullName
                }
            }
        }
    }
    Add-Row 'the file in quarantine' $Faulty ($copies -join '; ') ($copies.Count -eq 1)
}

function Add-Windows($Was) {
    $bitlocker = Get-BitLocker
    Add-Row 'BitLocker' $Was.bitlocker $bitlocker ($Was.bitlocker -ceq $bitlocker)
    Write-Host 'chkdsk /scan: this takes a while'
    $output = chkdsk.exe $System /scan
    $code = $LASTEXITCODE
    $output | Out-File -FilePath (Join-Path $Records "chkdsk-$Step.txt") -Encoding utf8
    Add-Row 'chkdsk /scan' 'exit code 0' "exit code $code" ($code -eq 0)
    $query = "*[System[(Level=1 or Level=2) and EventRecordID > $($Was.event)]]"
    $events = @(Get-WinEvent -LogName System -FilterXPath $query -ErrorAction SilentlyContinue)
    $events | Format-List -Property @('TimeCreated', 'ProviderName', 'Id', 'Message') |
        Out-File -FilePath (Join-Path $Records "events-$Step.txt") -Encoding utf8
    $disk = @($events | Where-Object { $_.ProviderName -match 'Ntfs|disk|volmgr|BitLocker|BugCheck|WER-System' })
    Add-Row 'errors of disk, NTFS, BitLocker, bug check' '0' "$($disk.Count)" ($disk.Count -eq 0)
    Write-Host "$($events.Count) errors of any kind since then: read events-$Step.txt"
}

function Write-Fault {
    if ((Test-Path -LiteralPath $Folder) -or (Test-Path -LiteralPath $Before)) {
        Stop-Here "$Folder or $Before is there already: take a new machine, or run -Step remove first."
    }
    if ((Get-BitLocker) -notmatch 'FullyEncrypted, protection On') {
        Write-Host 'BitLocker is not wholly on here. Say so in the form, or wait until it is.' -ForegroundColor Yellow
    }
    $null = New-Item -ItemType Directory -Path $Records -Force
    $null = New-Item -ItemType Directory -Path $Folder
    $faultyTime = New-Object DateTime 2024, 7, 19, 4, 9, 11, ([DateTimeKind]::Utc)
    $goodTime = New-Object DateTime 2024, 7, 18, 9, 30, 0, ([DateTimeKind]::Utc)
    New-ChannelFile $Neighbour 7 $goodTime
    New-ChannelFile $Faulty 11 $faultyTime
    Get-Record | ConvertTo-Json -Depth 5 | Out-File -FilePath $Before -Encoding utf8
    Write-Host "The fault is in place: $Faulty" -ForegroundColor Green
    Write-Host 'Have the recovery password at hand (manage-bde -protectors -get C:), then: shutdown /s /t 0'
}

function Write-Table {
    if (-not (Test-Path -LiteralPath $Before)) {
        Stop-Here "$Before is missing: run -Step put first."
    }
    $was = Get-Content -LiteralPath $Before -Raw | ConvertFrom-Json
    $script:Rows = @()
    if ($Step -eq 'repaired') {
        $there = (Get-State $Faulty)['is there']
        Add-Row 'the faulty file is gone from its place' 'no' $there ($there -eq 'no')
        Add-Quarantine $was
    } else {
        Add-Comparison 'the file put back' $was.faulty (Get-State $Faulty)
    }
    Add-Comparison 'the file beside it' $was.neighbour (Get-State $Neighbour)
    Add-Comparison 'its folder' $was.folder (Get-State $Folder)
    Add-Comparison 'the folder drivers' $was.drivers (Get-State $Drivers)
    Add-Files $was.files (Get-Neighbours)
    Add-Windows $was
    $table = @("unbrick acceptance, $Step, $($was.windows)", "before: $($was.taken)", '')
    foreach ($row in $script:Rows) {
        $table += "$($row.Answer.PadRight(10)) $($row.What)"
        if ($row.Answer -ne 'good') {
            $table += "           before: $($row.Before)"
            $table += "           now:    $($row.Now)"
        }
    }
    $bad = @($script:Rows | Where-Object { $_.Answer -ne 'good' }).Count
    $table += "$($script:Rows.Count) compared, $bad different"
    $table | Out-File -FilePath (Join-Path $Records "$Step.txt") -Encoding utf8
    $script:Rows | ConvertTo-Json | Out-File -FilePath (Join-Path $Records "$Step.json") -Encoding utf8
    $table | Write-Host
    Write-Host "Kept in $Records. Copy the folder out of the machine before you delete it."
    if ($bad -gt 0) {
        exit 1
    }
}

function Remove-Fault {
    foreach ($path in @($Faulty, $Neighbour)) {
        if (Test-Path -LiteralPath $path) {
            Remove-Item -LiteralPath $path -Force
        }
    }
    if ((Test-Path -LiteralPath $Folder) -and @(Get-ChildItem -LiteralPath $Folder -Force).Count -eq 0) {
        Remove-Item -LiteralPath $Folder
    }
    if (Test-Path -LiteralPath $Records) {
        Remove-Item -LiteralPath $Records -Recurse -Force
    }
    Write-Host "Removed what -Step put made. \Unbrick, if it is there, stays: unbrick purge deletes it."
}

if (-not (Test-Administrator)) {
    Stop-Here 'start PowerShell as administrator.'
}
if ([Environment]::Is64BitOperatingSystem -and -not [Environment]::Is64BitProcess) {
    Stop-Here 'this is the 32-bit PowerShell, which sees other folders. Start the ordinary one.'
}
if (Test-CrowdStrike) {
    Stop-Here 'CrowdStrike Falcon is installed here, and would read the file. Take a machine without it.'
}
if (-not (Test-VirtualMachine) -and -not $NotAVirtualMachine) {
    Stop-Here 'this is no virtual machine as far as it can be told. -NotAVirtualMachine overrides this.'
}
if ($Step -eq 'put') {
    Write-Fault
} elseif ($Step -eq 'remove') {
    Remove-Fault
} else {
    Write-Table
}
